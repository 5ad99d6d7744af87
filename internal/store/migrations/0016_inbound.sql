-- Control: for a while after a rotation, the value that a webhook slot's secret had before.

CREATE TABLE secret_previous (
  organization {text} NOT NULL REFERENCES organizations (id),
  path         {text} NOT NULL,
  version      BIGINT NOT NULL,
  sealed       {bytes} NOT NULL,
  until        BIGINT NOT NULL,
  CONSTRAINT secret_previous_pkey PRIMARY KEY (organization, path)
);
CREATE INDEX secret_previous_until ON secret_previous (until);

-- Control: slots that may take their secret from the vendor's handshake.

CREATE TABLE awaited_handshakes (
  organization {text} NOT NULL REFERENCES organizations (id),
  connection   {text} NOT NULL,
  until        BIGINT NOT NULL,
  CONSTRAINT awaited_handshakes_pkey PRIMARY KEY (organization, connection)
);

-- Region: what vendors delivered and slots verified. The unique index is the store of
-- copies: a delivery is acted upon once while its row is here.

CREATE TABLE inbound_events (
  organization {text} NOT NULL,
  id           {text} NOT NULL,
  workspace    {text} NOT NULL,
  system       {text} NOT NULL,
  data_source  {text} NOT NULL,
  connection   {text} NOT NULL,
  slot         {text} NOT NULL,
  replay_key   {bytes} NOT NULL,
  delivery     {text} NOT NULL,
  type         {text} NOT NULL,
  content_type {text} NOT NULL,
  size         BIGINT NOT NULL,
  batch        {text} NOT NULL,
  status       {text} NOT NULL,
  attempts     BIGINT NOT NULL,
  code         {text} NOT NULL,
  received_at  BIGINT NOT NULL,
  processed_at BIGINT NOT NULL,
  body         {bytes} NOT NULL,
  CONSTRAINT inbound_events_pkey PRIMARY KEY (organization, id)
);
CREATE UNIQUE INDEX inbound_events_copy_unique ON inbound_events (connection, replay_key);
CREATE INDEX inbound_events_delivery ON inbound_events (connection, delivery) WHERE delivery <> '';
CREATE INDEX inbound_events_open ON inbound_events (batch, id) WHERE status = 'received';
CREATE INDEX inbound_events_parked ON inbound_events (organization, system, id) WHERE status = 'parked';
CREATE INDEX inbound_events_received_at ON inbound_events (received_at);
