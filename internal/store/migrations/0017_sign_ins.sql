-- Control: how people sign in to the console, the links by which they choose it, and the
-- browsers in which they did. Who is removed takes all of it along.

CREATE TABLE sign_ins (
  organization {text} NOT NULL,
  user_id      {text} NOT NULL,
  body         {text} NOT NULL, -- a JSON document: hashes, and a sealed second factor
  version      BIGINT NOT NULL,
  CONSTRAINT sign_ins_pkey PRIMARY KEY (organization, user_id),
  CONSTRAINT sign_ins_user_fkey FOREIGN KEY (organization, user_id) REFERENCES users (organization, id) ON DELETE CASCADE
);

CREATE TABLE setup_links (
  hash         {bytes} NOT NULL,
  organization {text} NOT NULL,
  user_id      {text} NOT NULL,
  expires_at   BIGINT NOT NULL,
  CONSTRAINT setup_links_pkey PRIMARY KEY (hash),
  CONSTRAINT setup_links_user_fkey FOREIGN KEY (organization, user_id) REFERENCES users (organization, id) ON DELETE CASCADE
);
CREATE INDEX setup_links_user ON setup_links (organization, user_id);

CREATE TABLE console_sessions (
  organization {text} NOT NULL,
  id           {text} NOT NULL,
  user_id      {text} NOT NULL,
  token_hash   {bytes} NOT NULL,
  body         {text} NOT NULL, -- a JSON document
  seen_at      BIGINT NOT NULL,
  expires_at   BIGINT NOT NULL,
  CONSTRAINT console_sessions_pkey PRIMARY KEY (organization, id),
  CONSTRAINT console_sessions_user_fkey FOREIGN KEY (organization, user_id) REFERENCES users (organization, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX console_sessions_token_hash_unique ON console_sessions (token_hash);
CREATE INDEX console_sessions_user ON console_sessions (organization, user_id);
CREATE INDEX console_sessions_expires_at ON console_sessions (expires_at);

CREATE INDEX users_email ON users (email)
