-- Control: command lines that wait for a person to let them in. Codes are kept as hashes;
-- what is never asked for by itself stands in body, a JSON document.

CREATE TABLE logins (
  id          {text} NOT NULL,
  code_hash   {bytes} NOT NULL,
  user_hash   {bytes} NOT NULL, -- empty if a browser carries the answer
  status      {text} NOT NULL,
  body        {text} NOT NULL,
  expires_at  BIGINT NOT NULL,
  CONSTRAINT logins_pkey PRIMARY KEY (id)
);
CREATE UNIQUE INDEX logins_code_hash_unique ON logins (code_hash);
CREATE INDEX logins_user_hash ON logins (user_hash);
CREATE INDEX logins_expires_at ON logins (expires_at)
