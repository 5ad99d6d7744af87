-- Region: tokens of deleted connections on their way to be revoked at their vendors, and
-- what came of that. sealed is there for as long as a verdict is pending.

CREATE TABLE revocations (
  organization {text} NOT NULL,
  connection   {text} NOT NULL,
  revision     BIGINT NOT NULL, -- of the connection, whose tokens they were
  workspace    {text} NOT NULL,
  connector    {text} NOT NULL,
  report       {text} NOT NULL, -- empty: the connection was deleted by itself
  tokens       {text} NOT NULL, -- the verdicts, as JSON
  pending      BIGINT NOT NULL, -- how many of them are what
  revoked      BIGINT NOT NULL,
  unsupported  BIGINT NOT NULL,
  failed       BIGINT NOT NULL,
  attempts     BIGINT NOT NULL,
  reason       {text} NOT NULL, -- why the last attempt failed
  next_at      BIGINT NOT NULL,
  give_up_at   BIGINT NOT NULL,
  created_at   BIGINT NOT NULL,
  ended_at     BIGINT NOT NULL, -- 0: a verdict is pending
  sealed       {bytes},
  CONSTRAINT revocations_revision_unique PRIMARY KEY (organization, connection, revision),
  FOREIGN KEY (organization, connection) REFERENCES connections (organization, id)
);
CREATE INDEX revocations_report ON revocations (organization, report, connection) WHERE report <> '';
CREATE INDEX revocations_next_at ON revocations (next_at) WHERE ended_at = 0;

CREATE TABLE revocation_reports (
  organization {text} NOT NULL,
  id           {text} NOT NULL,
  workspace    {text} NOT NULL, -- empty: of the organization as a whole
  status       {text} NOT NULL,
  body         {text} NOT NULL, -- what was asked for, as JSON
  created_at   BIGINT NOT NULL,
  CONSTRAINT revocation_reports_id_unique PRIMARY KEY (organization, id)
);

-- The next token that ends for good.

CREATE INDEX grants_refresh_expires_at ON grants (refresh_expires_at) WHERE refresh_expires_at > 0;
CREATE INDEX connections_ends_at ON connections (expires_at) WHERE expires_at > 0 AND expires_at = refresh_at AND status <> 'revoked'
