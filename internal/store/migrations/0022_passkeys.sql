-- Control: the passkeys of people, and what browsers have begun in order to sign in.

CREATE TABLE passkeys (
  organization    {text} NOT NULL,
  id              {text} NOT NULL,
  user_id         {text} NOT NULL,
  credential_hash {bytes} NOT NULL,
  body            {text} NOT NULL, -- a JSON document: a public key, and nothing secret
  version         BIGINT NOT NULL,
  CONSTRAINT passkeys_pkey PRIMARY KEY (organization, id),
  CONSTRAINT passkeys_user_fkey FOREIGN KEY (organization, user_id) REFERENCES users (organization, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX passkeys_credential_hash_unique ON passkeys (credential_hash);
CREATE INDEX passkeys_user ON passkeys (organization, user_id);

CREATE TABLE ceremonies (
  hash       {bytes} NOT NULL,
  kind       {text} NOT NULL,
  body       {text} NOT NULL, -- a JSON document, without secrets
  expires_at BIGINT NOT NULL,
  CONSTRAINT ceremonies_pkey PRIMARY KEY (hash)
);
CREATE INDEX ceremonies_expires_at ON ceremonies (expires_at);
