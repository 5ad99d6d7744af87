-- One text for both engines. {text}, {bytes}, {serial} and {clustered} are the
-- only words that differ; migrate.go says what each engine reads instead.
--
-- Times are milliseconds since 1970, zero for "never". Booleans are 0 and 1.
-- Every table is made in every database; a region's own database leaves those of
-- the control database empty, and the other way round. Hence no foreign key goes
-- from a region's tables to control's.
--
-- A unique constraint is called table_field_unique, its telling column being the
-- last: that field is what a conflict is reported on.

-- Control: what belongs to the instance or to an organization.

CREATE TABLE organizations (
  id         {text} NOT NULL CONSTRAINT organizations_pkey PRIMARY KEY,
  name       {text} NOT NULL,
  instance   BIGINT NOT NULL,
  created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX organizations_instance_unique ON organizations (instance) WHERE instance = 1;

CREATE TABLE workspaces (
  organization {text} NOT NULL REFERENCES organizations (id),
  id           {text} NOT NULL,
  name         {text} NOT NULL,
  canonical    {text} NOT NULL,
  region       {text} NOT NULL,
  version      BIGINT NOT NULL,
  created_at   BIGINT NOT NULL,
  updated_at   BIGINT NOT NULL,
  CONSTRAINT workspaces_pkey PRIMARY KEY (organization, id)
);
CREATE UNIQUE INDEX workspaces_name_unique ON workspaces (organization, canonical);

CREATE TABLE users (
  organization {text} NOT NULL REFERENCES organizations (id),
  id           {text} NOT NULL,
  name         {text} NOT NULL,
  email        {text} NOT NULL,
  role         {text} NOT NULL,
  disabled     BIGINT NOT NULL,
  version      BIGINT NOT NULL,
  created_at   BIGINT NOT NULL,
  updated_at   BIGINT NOT NULL,
  CONSTRAINT users_pkey PRIMARY KEY (organization, id)
);
CREATE UNIQUE INDEX users_email_unique ON users (organization, email);
CREATE UNIQUE INDEX users_id_unique ON users (id);

CREATE TABLE applications (
  organization {text} NOT NULL REFERENCES organizations (id),
  id           {text} NOT NULL,
  name         {text} NOT NULL,
  client_id    {text} NOT NULL,
  secret_hash  {bytes} NOT NULL,
  created_at   BIGINT NOT NULL,
  CONSTRAINT applications_pkey PRIMARY KEY (organization, id)
);
CREATE UNIQUE INDEX applications_client_id_unique ON applications (client_id);

CREATE TABLE api_keys (
  organization {text} NOT NULL REFERENCES organizations (id),
  id           {text} NOT NULL,
  workspace    {text} NOT NULL,
  user_id      {text} NOT NULL,
  created_by   {text} NOT NULL,
  name         {text} NOT NULL,
  hash         {bytes} NOT NULL,
  hint         {text} NOT NULL,
  permissions  {text} NOT NULL,
  allowed_ips  {text} NOT NULL,
  expires_at   BIGINT NOT NULL,
  revoked_at   BIGINT NOT NULL,
  last_used_at BIGINT NOT NULL,
  created_at   BIGINT NOT NULL,
  CONSTRAINT api_keys_pkey PRIMARY KEY (organization, id)
);
CREATE UNIQUE INDEX api_keys_hash_unique ON api_keys (hash);
CREATE UNIQUE INDEX api_keys_id_unique ON api_keys (id);

CREATE TABLE tokens (
  id           {text} NOT NULL CONSTRAINT tokens_pkey PRIMARY KEY,
  organization {text} NOT NULL REFERENCES organizations (id),
  workspace    {text} NOT NULL,
  kind         {text} NOT NULL,
  subject      {text} NOT NULL,
  minted_by    {text} NOT NULL,
  expires_at   BIGINT NOT NULL,
  revoked_at   BIGINT NOT NULL,
  created_at   BIGINT NOT NULL
);
CREATE INDEX tokens_organization ON tokens (organization, created_at);
CREATE INDEX tokens_expires_at ON tokens (expires_at);

CREATE TABLE connectors (
  organization {text} NOT NULL REFERENCES organizations (id),
  key          {text} NOT NULL,
  version      BIGINT NOT NULL,
  newest       BIGINT NOT NULL,
  deleted      BIGINT NOT NULL,
  document     {bytes} NOT NULL,
  created_by   {text} NOT NULL,
  created_at   BIGINT NOT NULL,
  CONSTRAINT connectors_version_unique PRIMARY KEY (organization, key, version)
);
CREATE UNIQUE INDEX connectors_key_unique ON connectors (organization, key) WHERE newest = 1;

CREATE TABLE secrets (
  organization {text} NOT NULL REFERENCES organizations (id),
  path         {text} NOT NULL,
  version      BIGINT NOT NULL,
  sealed       {bytes},
  created_at   BIGINT NOT NULL,
  updated_at   BIGINT NOT NULL,
  CONSTRAINT secrets_path_unique PRIMARY KEY (organization, path)
);

CREATE TABLE keysets (
  organization {text} NOT NULL CONSTRAINT keysets_organization_unique PRIMARY KEY,
  wrapped      {bytes} NOT NULL,
  version      BIGINT NOT NULL,
  updated_at   BIGINT NOT NULL
);

CREATE TABLE facts (
  name  {text} NOT NULL CONSTRAINT facts_name_unique PRIMARY KEY,
  value {bytes} NOT NULL
);

CREATE TABLE idempotency (
  organization {text} NOT NULL,
  caller       {text} NOT NULL,
  key          {text} NOT NULL,
  request_hash {bytes} NOT NULL,
  status       BIGINT NOT NULL,
  header       {bytes},
  body         {bytes},
  done         BIGINT NOT NULL,
  created_at   BIGINT NOT NULL,
  CONSTRAINT idempotency_key_unique PRIMARY KEY (organization, caller, key)
);
CREATE INDEX idempotency_created_at ON idempotency (created_at);

-- Region: what belongs to a workspace.

CREATE TABLE connections (
  organization      {text} NOT NULL,
  id                {text} NOT NULL,
  workspace         {text} NOT NULL,
  owner             {text} NOT NULL,
  connector         {text} NOT NULL,
  connector_version BIGINT NOT NULL,
  auth_method       {text} NOT NULL,
  name              {text} NOT NULL,
  name_folded       {text} NOT NULL,
  usage             {text} NOT NULL,
  visibility        {text} NOT NULL,
  status            {text} NOT NULL,
  health            {text} NOT NULL,
  fault_code        {text} NOT NULL,
  fault_message     {text} NOT NULL,
  account_id        {text} NOT NULL,
  account_name      {text} NOT NULL,
  granted_scopes    {text} NOT NULL,
  settings          {text} NOT NULL,
  metadata          {text} NOT NULL,
  tags              {text} NOT NULL,
  secret_keys       {text} NOT NULL,
  secret_paths      {text} NOT NULL,
  revision          BIGINT NOT NULL,
  destination       {text} NOT NULL,
  revocations       {text} NOT NULL,
  version           BIGINT NOT NULL,
  expires_at        BIGINT NOT NULL,
  last_used_at      BIGINT NOT NULL,
  last_checked_at   BIGINT NOT NULL,
  created_at        BIGINT NOT NULL,
  updated_at        BIGINT NOT NULL,
  sealed            {bytes},
  CONSTRAINT connections_pkey PRIMARY KEY (organization, id)
);
CREATE UNIQUE INDEX connections_id_unique ON connections (id);
CREATE UNIQUE INDEX connections_name_unique ON connections (organization, workspace, name) WHERE status <> 'revoked';
CREATE INDEX connections_workspace ON connections (organization, workspace, id) WHERE status <> 'revoked';
CREATE INDEX connections_connector ON connections (organization, connector, id) WHERE status <> 'revoked';

CREATE TABLE connection_tags (
  organization {text} NOT NULL,
  tag          {text} NOT NULL,
  value        {text} NOT NULL,
  connection   {text} NOT NULL,
  CONSTRAINT connection_tags_tag_unique PRIMARY KEY (organization, connection, tag),
  FOREIGN KEY (organization, connection) REFERENCES connections (organization, id)
);
CREATE INDEX connection_tags_value ON connection_tags (organization, tag, value, connection);

CREATE TABLE connection_secrets (
  organization {text} NOT NULL,
  path         {text} NOT NULL,
  connection   {text} NOT NULL,
  CONSTRAINT connection_secrets_connection_unique PRIMARY KEY (organization, path, connection),
  FOREIGN KEY (organization, connection) REFERENCES connections (organization, id)
);
CREATE INDEX connection_secrets_connection ON connection_secrets (organization, connection);

CREATE TABLE call_usage (
  organization {text} NOT NULL,
  workspace    {text} NOT NULL,
  connection   {text} NOT NULL,
  connector    {text} NOT NULL,
  action       {text} NOT NULL,
  hour         BIGINT NOT NULL,
  calls        BIGINT NOT NULL,
  failures     BIGINT NOT NULL,
  total        BIGINT NOT NULL,
  longest      BIGINT NOT NULL,
  CONSTRAINT call_usage_action_unique PRIMARY KEY (organization, connection, hour, action)
);
CREATE INDEX call_usage_hour ON call_usage (organization, hour);

-- Both: the ledger and the change feed live beside the rows they speak of.

CREATE TABLE ledger (
  stream        {text} NOT NULL,
  sequence      BIGINT NOT NULL,
  id            {text} NOT NULL,
  at            BIGINT NOT NULL,
  organization  {text} NOT NULL,
  workspace     {text} NOT NULL,
  connection    {text} NOT NULL,
  verb          {text} NOT NULL,
  outcome       {text} NOT NULL,
  status_code   BIGINT NOT NULL,
  duration      BIGINT NOT NULL,
  request_id    {text} NOT NULL,
  facts         {text} NOT NULL, -- the other texts, a line "name=value" for each
  mac           {bytes} NOT NULL,
  CONSTRAINT ledger_sequence_unique PRIMARY KEY (stream, sequence)
){clustered};
CREATE INDEX ledger_organization ON ledger (organization, id);

CREATE TABLE streams (
  id         {text} NOT NULL CONSTRAINT streams_pkey PRIMARY KEY,
  sequence   BIGINT NOT NULL,
  mac        {bytes} NOT NULL,
  head_mac   {bytes} NOT NULL,
  checkpointed BIGINT NOT NULL DEFAULT 0, -- the sequence that the last checkpoint names
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);

CREATE TABLE checkpoints (
  sequence BIGINT NOT NULL CONSTRAINT checkpoints_sequence_unique PRIMARY KEY,
  at       BIGINT NOT NULL,
  body     {bytes} NOT NULL,
  mac      {bytes} NOT NULL
);

CREATE TABLE changes (
  sequence {serial},
  kind     {text} NOT NULL,
  id       {text} NOT NULL,
  at       BIGINT NOT NULL
);
CREATE INDEX changes_at ON changes (at, sequence)
