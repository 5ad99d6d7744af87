-- Control: the keys that organizations sign certificates of their systems with.

CREATE TABLE trust_keys (
  organization {text} NOT NULL REFERENCES organizations (id),
  sealed       {bytes} NOT NULL,
  created_at   BIGINT NOT NULL,
  CONSTRAINT trust_keys_pkey PRIMARY KEY (organization)
);
