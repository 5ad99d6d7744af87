-- Control: what an organization allows that is refused by default.

CREATE TABLE policies (
  organization  {text} NOT NULL REFERENCES organizations (id),
  sync_fallback BIGINT NOT NULL,
  updated_at    BIGINT NOT NULL,
  CONSTRAINT policies_pkey PRIMARY KEY (organization)
);
