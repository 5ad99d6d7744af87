-- Control: how an organization shows itself to people who connect something for it.

CREATE TABLE branding (
  organization {text} NOT NULL REFERENCES organizations (id),
  name         {text} NOT NULL,
  color        {text} NOT NULL,
  logo         {bytes} NOT NULL, -- PNG, or empty
  updated_at   BIGINT NOT NULL,
  CONSTRAINT branding_pkey PRIMARY KEY (organization)
)
