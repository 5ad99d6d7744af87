-- Control: the OpenID provider by which an organization's people sign in, and who they are
-- there. A person is one subject of one issuer.

CREATE TABLE single_sign_on (
  organization {text} NOT NULL REFERENCES organizations (id),
  issuer       {text} NOT NULL, -- empty: removed
  body         {text} NOT NULL, -- a JSON document, without secrets
  sealed       {bytes} NOT NULL,
  version      BIGINT NOT NULL,
  CONSTRAINT single_sign_on_pkey PRIMARY KEY (organization)
);

CREATE TABLE identities (
  organization {text} NOT NULL,
  issuer       {text} NOT NULL,
  subject      {text} NOT NULL,
  user_id      {text} NOT NULL,
  created_at   BIGINT NOT NULL,
  CONSTRAINT identities_pkey PRIMARY KEY (organization, issuer, subject),
  CONSTRAINT identities_user_fkey FOREIGN KEY (organization, user_id) REFERENCES users (organization, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX identities_user_id_unique ON identities (organization, user_id);

ALTER TABLE console_sessions ADD COLUMN proof {text} NOT NULL DEFAULT ''
