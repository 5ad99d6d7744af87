-- Control: the origins that the secrets of an organization's OAuth client may go to.

ALTER TABLE oauth_clients ADD COLUMN destination TEXT NOT NULL DEFAULT ''
