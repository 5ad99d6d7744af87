-- Control: how many values the primary key of a keyset has sealed, over all nodes.

ALTER TABLE keysets ADD COLUMN seals BIGINT NOT NULL DEFAULT 0
