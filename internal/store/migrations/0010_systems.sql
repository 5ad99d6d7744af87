-- Control: connected systems, the versions of their manifests and their slots.

CREATE TABLE systems (
  organization {text} NOT NULL REFERENCES organizations (id),
  id           {text} NOT NULL,
  key          {text} NOT NULL,
  workspace    {text} NOT NULL,
  hook         {text} NOT NULL,
  name         {text} NOT NULL,
  type         {text} NOT NULL,
  enabled      BIGINT NOT NULL,
  version      BIGINT NOT NULL,
  connector    BIGINT NOT NULL,
  hash         {bytes} NOT NULL,
  owner        {text} NOT NULL,
  created_at   BIGINT NOT NULL,
  updated_at   BIGINT NOT NULL,
  CONSTRAINT systems_pkey PRIMARY KEY (organization, id)
);
CREATE UNIQUE INDEX systems_key_unique ON systems (organization, key);
CREATE UNIQUE INDEX systems_hook_unique ON systems (hook);

CREATE TABLE system_manifests (
  organization {text} NOT NULL,
  system       {text} NOT NULL,
  version      BIGINT NOT NULL,
  hash         {bytes} NOT NULL,
  document     {bytes} NOT NULL,
  uploader     {text} NOT NULL,
  created_at   BIGINT NOT NULL,
  CONSTRAINT system_manifests_version_unique PRIMARY KEY (organization, system, version),
  FOREIGN KEY (organization, system) REFERENCES systems (organization, id)
);

-- awaiting: kv:// paths whose value was given for another destination.
CREATE TABLE system_slots (
  organization {text} NOT NULL,
  system       {text} NOT NULL,
  slot         {text} NOT NULL,
  position     BIGINT NOT NULL,
  usage        {text} NOT NULL,
  is_default   BIGINT NOT NULL,
  auth         {text} NOT NULL,
  method       {text} NOT NULL,
  provider     {text} NOT NULL,
  connection   {text} NOT NULL,
  paths        {text} NOT NULL,
  awaiting     {text} NOT NULL,
  CONSTRAINT system_slots_slot_unique PRIMARY KEY (organization, system, slot),
  FOREIGN KEY (organization, system) REFERENCES systems (organization, id)
);
CREATE INDEX system_slots_connection ON system_slots (organization, connection);

CREATE TABLE system_certificates (
  organization {text} NOT NULL,
  system       {text} NOT NULL,
  hash         {bytes} NOT NULL,
  level        {text} NOT NULL,
  document     {bytes} NOT NULL,
  created_at   BIGINT NOT NULL,
  CONSTRAINT system_certificates_pkey PRIMARY KEY (organization, system),
  FOREIGN KEY (organization, system) REFERENCES systems (organization, id)
);

-- Region: which slot a connection realises.

ALTER TABLE connections ADD COLUMN slot {text} NOT NULL DEFAULT '';
