-- Region: the life of the tokens of OAuth connections, beside the connections.

ALTER TABLE connections ADD COLUMN refresh_at BIGINT NOT NULL DEFAULT 0;

-- lease_until and intent_at are by the clock of the database, so that nodes whose own
-- clocks differ agree on who holds a lease; the other times are the vendor's tokens'.
CREATE TABLE grants (
  organization       {text} NOT NULL,
  connection         {text} NOT NULL,
  generation         BIGINT NOT NULL, -- refreshes that were stored
  owner              {text} NOT NULL, -- of the lease; empty: nobody
  fence              BIGINT NOT NULL, -- grows with every lease
  lease_until        BIGINT NOT NULL,
  state              {text} NOT NULL,
  sent_revision      BIGINT NOT NULL, -- of the connection whose token is being sent
  sends              BIGINT NOT NULL, -- how often it may have been sent
  intent_at          BIGINT NOT NULL,
  answer             {bytes},
  cause              {text} NOT NULL,
  failures           BIGINT NOT NULL,
  retry_at           BIGINT NOT NULL,
  rotates            BIGINT NOT NULL, -- 1: an answer has replaced the refresh token
  issued_at          BIGINT NOT NULL,
  expires_at         BIGINT NOT NULL,
  refresh_expires_at BIGINT NOT NULL,
  last_refreshed_at  BIGINT NOT NULL,
  keep_at            BIGINT NOT NULL, -- when to refresh although nobody uses it; 0: never
  requested_scopes   {text} NOT NULL,
  CONSTRAINT grants_connection_unique PRIMARY KEY (organization, connection),
  FOREIGN KEY (organization, connection) REFERENCES connections (organization, id)
);
CREATE INDEX grants_keep_at ON grants (keep_at) WHERE keep_at > 0;
CREATE INDEX grants_lease_until ON grants (lease_until) WHERE state <> 'idle';

-- Control: an organization's registrations at vendors.

CREATE TABLE oauth_clients (
  organization {text} NOT NULL REFERENCES organizations (id),
  connector    {text} NOT NULL,
  auth_method  {text} NOT NULL,
  client_id    {text} NOT NULL,
  key_id       {text} NOT NULL,
  certificate  {bytes} NOT NULL,
  sealed       {bytes} NOT NULL,
  secret_keys  {text} NOT NULL,
  version      BIGINT NOT NULL,
  created_at   BIGINT NOT NULL,
  updated_at   BIGINT NOT NULL,
  CONSTRAINT oauth_clients_auth_method_unique PRIMARY KEY (organization, connector, auth_method)
)
