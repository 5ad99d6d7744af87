-- Control: when the secret and the certificate of a registration end; 0: unknown, or never.

ALTER TABLE oauth_clients ADD COLUMN secret_ends_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE oauth_clients ADD COLUMN certificate_ends_at BIGINT NOT NULL DEFAULT 0
