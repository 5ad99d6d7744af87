-- Control: where an organization wants its events sent.

CREATE TABLE event_endpoints (
  organization    {text} NOT NULL REFERENCES organizations (id),
  id              {text} NOT NULL,
  url             {text} NOT NULL,
  events          {text} NOT NULL,
  owner           {text} NOT NULL,
  disabled        {text} NOT NULL,
  version         BIGINT NOT NULL,
  sealed          {bytes} NOT NULL,
  previous        {bytes},
  previous_until  BIGINT NOT NULL,
  created_at      BIGINT NOT NULL,
  updated_at      BIGINT NOT NULL,
  CONSTRAINT event_endpoints_pkey PRIMARY KEY (organization, id)
);

-- Region: events on their way, beside what they speak of and the jobs that send them.

CREATE TABLE event_deliveries (
  organization {text} NOT NULL,
  id           {text} NOT NULL,
  workspace    {text} NOT NULL,
  endpoint     {text} NOT NULL,
  event        {text} NOT NULL,
  type         {text} NOT NULL,
  body         {bytes} NOT NULL,
  status       {text} NOT NULL,
  attempts     BIGINT NOT NULL,
  status_code  BIGINT NOT NULL,
  code         {text} NOT NULL,
  since        BIGINT NOT NULL,
  next_at      BIGINT NOT NULL,
  last_at      BIGINT NOT NULL,
  created_at   BIGINT NOT NULL,
  CONSTRAINT event_deliveries_pkey PRIMARY KEY (organization, id)
);
CREATE INDEX event_deliveries_endpoint ON event_deliveries (organization, endpoint, id);
CREATE INDEX event_deliveries_created_at ON event_deliveries (created_at);
