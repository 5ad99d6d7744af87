-- Region: which delivery was the first to have its vendor's id. That an id comes again with
-- another content is found by the insert itself, without a look at what is stored.

ALTER TABLE inbound_events ADD COLUMN delivery_first BIGINT NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX inbound_events_delivery_unique ON inbound_events (connection, delivery) WHERE delivery_first = 1;
DROP INDEX inbound_events_delivery;

-- Both: the processes that work off jobs, and until when each is taken to live. Whoever
-- finds one whose time is over gives its jobs to others.

CREATE TABLE workers (
  id    {text} NOT NULL,
  until BIGINT NOT NULL,
  CONSTRAINT workers_pkey PRIMARY KEY (id)
)
