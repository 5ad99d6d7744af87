-- Region: connecting, until it is finished. What is never asked for by itself stands in
-- body, a JSON document.

CREATE TABLE connect_sessions (
  organization {text} NOT NULL,
  id           {text} NOT NULL,
  workspace    {text} NOT NULL,
  token_hash   {bytes} NOT NULL,
  status       {text} NOT NULL,
  body         {text} NOT NULL,
  version      BIGINT NOT NULL,
  expires_at   BIGINT NOT NULL,
  CONSTRAINT connect_sessions_pkey PRIMARY KEY (organization, id)
);
CREATE UNIQUE INDEX connect_sessions_token_hash_unique ON connect_sessions (token_hash);
CREATE INDEX connect_sessions_expires_at ON connect_sessions (expires_at);

CREATE TABLE connect_flows (
  organization {text} NOT NULL,
  id           {text} NOT NULL,
  workspace    {text} NOT NULL,
  session      {text} NOT NULL,
  connection   {text} NOT NULL,
  status       {text} NOT NULL,
  state_hash   {bytes} NOT NULL, -- empty until a browser was sent to the vendor
  body         {text} NOT NULL,
  sealed       {bytes},
  version      BIGINT NOT NULL,
  expires_at   BIGINT NOT NULL,
  CONSTRAINT connect_flows_pkey PRIMARY KEY (organization, id)
);
CREATE UNIQUE INDEX connect_flows_id_unique ON connect_flows (id);
CREATE INDEX connect_flows_state_hash ON connect_flows (state_hash);
CREATE INDEX connect_flows_connection ON connect_flows (organization, connection, id);
CREATE INDEX connect_flows_session ON connect_flows (organization, session, id);
CREATE INDEX connect_flows_expires_at ON connect_flows (expires_at);

-- Control: where browsers may be sent back to.

CREATE TABLE return_urls (
  organization {text} NOT NULL REFERENCES organizations (id),
  position     BIGINT NOT NULL,
  url          {text} NOT NULL,
  CONSTRAINT return_urls_url_unique PRIMARY KEY (organization, url)
)
