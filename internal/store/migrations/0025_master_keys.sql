-- Control: which master key a keyset is wrapped under, so that a replaced one is known to
-- be needed no longer.

ALTER TABLE keysets ADD COLUMN master {text} NOT NULL DEFAULT '';

CREATE INDEX keysets_master ON keysets (master);
