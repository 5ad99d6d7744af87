-- Control: what authorization servers said of themselves when a version of a connector
-- was first used. What they say later counts for the next version alone.

CREATE TABLE oauth_pins (
  organization {text} NOT NULL REFERENCES organizations (id),
  connector    {text} NOT NULL,
  version      BIGINT NOT NULL,
  issuer       {text} NOT NULL,
  endpoints    {bytes} NOT NULL, -- a JSON document
  created_at   BIGINT NOT NULL,
  CONSTRAINT oauth_pins_pkey PRIMARY KEY (organization, connector, version, issuer)
);
