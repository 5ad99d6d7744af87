package store

import (
	"context"
	"errors"
	"time"

	"claviger"
)

// OAuthClient is an organization's registration at a vendor: what may be shown of it.
// Its secret and private key are a [claviger.Sealed] beside it.
type OAuthClient struct {
	Organization claviger.OrganizationID
	Connector    string
	AuthMethod   string
	ClientID     string
	KeyID        string // "kid" of assertions
	Certificate  []byte // PEM chain of tls_client_auth
	// When the secret ends, as somebody said, and the certificate; zero: unknown, or never.
	SecretEndsAt, CertificateEndsAt time.Time
	SecretKeys                      []string // which of the sealed values are set: clientSecret, privateKey
	Destination                     string   // the origins that the secrets may go to, between spaces; bound into the ciphertext
	Version                         int64    // grows with every change; bound into the ciphertext
	CreatedAt                       time.Time
	UpdatedAt                       time.Time
}

const clientColumns = "organization, connector, auth_method, client_id, key_id, certificate, secret_keys, version, created_at, updated_at, secret_ends_at, certificate_ends_at, destination"

// sealedClient is a registration with its ciphertext.
type sealedClient struct {
	OAuthClient
	sealed claviger.Sealed
}

func scanClient(r row) (sealedClient, error) {
	var c sealedClient
	var sealed []byte
	var keys string
	var created, updated, secret, certificate int64
	err := r.Scan(&c.Organization, &c.Connector, &c.AuthMethod, &c.ClientID, &c.KeyID, &c.Certificate, &keys, &c.Version, &created, &updated, &secret, &certificate, &c.Destination, &sealed)
	c.sealed, c.CreatedAt, c.UpdatedAt = sealed, fromMillis(created), fromMillis(updated)
	c.SecretEndsAt, c.CertificateEndsAt = fromMillis(secret), fromMillis(certificate)
	return c, errors.Join(err, undocument(keys, &c.SecretKeys))
}

const findClient = "SELECT " + clientColumns + ", sealed FROM oauth_clients WHERE organization = $1 AND connector = $2 AND auth_method = $3"

// OAuthClient answers the organization's registration for one auth method of a
// connector, and its ciphertext. A scope that is bound to a workspace reads it too: its
// connections are made with it.
func (db *DB) OAuthClient(ctx context.Context, s claviger.Scope, connector, method string) (OAuthClient, claviger.Sealed, error) {
	if s.Organization() == "" {
		return OAuthClient{}, nil, ErrNoScope
	}
	c, err := fromControl(ctx, db, scanClient, findClient+" AND client_id <> ''", string(s.Organization()), connector, method)
	return c.OAuthClient, c.sealed, err
}

// OAuthClientChange answers what a registration and its ciphertext are to become. next
// is the old one, or a new one, with its next Version, which the ciphertext is sealed for.
type OAuthClientChange func(next OAuthClient, sealed claviger.Sealed) (OAuthClient, claviger.Sealed, error)

// PutOAuthClient makes or changes the organization's registration for one auth method of
// a connector. change may run again. Organization, connector, auth method, Version and
// times are set here.
func (tx *Tx) PutOAuthClient(ctx context.Context, s claviger.Scope, connector, method string, change OAuthClientChange) (OAuthClient, error) {
	if err := organizationWide(s); err != nil {
		return OAuthClient{}, err
	}
	if err := tx.lockOrganization(ctx, s.Organization()); err != nil {
		return OAuthClient{}, err
	}
	now := fromMillis(millis(tx.db.now()))
	old, err := one(ctx, tx.q, scanClient, findClient, string(s.Organization()), connector, method)
	if errors.Is(err, ErrNotFound) {
		old = sealedClient{OAuthClient: OAuthClient{Organization: s.Organization(), Connector: connector, AuthMethod: method, CreatedAt: now}}
		err = nil
	}
	if err != nil {
		return OAuthClient{}, err
	}
	kept := old.OAuthClient
	kept.Version, kept.UpdatedAt = kept.Version+1, now
	next, sealed, err := change(kept, old.sealed)
	if err != nil {
		return OAuthClient{}, err
	}
	next.Organization, next.Connector, next.AuthMethod = kept.Organization, kept.Connector, kept.AuthMethod
	next.Version, next.CreatedAt, next.UpdatedAt = kept.Version, kept.CreatedAt, kept.UpdatedAt
	_, err = tx.exec(ctx, `INSERT INTO oauth_clients (`+clientColumns+`, sealed) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
		ON CONFLICT (organization, connector, auth_method) DO UPDATE SET client_id = excluded.client_id, key_id = excluded.key_id,
		certificate = excluded.certificate, secret_keys = excluded.secret_keys, version = excluded.version,
		updated_at = excluded.updated_at, secret_ends_at = excluded.secret_ends_at, certificate_ends_at = excluded.certificate_ends_at,
		destination = excluded.destination, sealed = excluded.sealed`,
		string(next.Organization), next.Connector, next.AuthMethod, next.ClientID, next.KeyID, filled(next.Certificate),
		document(next.SecretKeys), next.Version, millis(next.CreatedAt), millis(next.UpdatedAt),
		millis(next.SecretEndsAt), millis(next.CertificateEndsAt), next.Destination, filled(sealed))
	return next, err
}

// DeleteOAuthClient destroys a registration's ciphertext; only the last number stays, so
// that an old ciphertext cannot be passed off as a new one. Connections that were made
// with it stay, and can be refreshed again when there is a registration.
func (tx *Tx) DeleteOAuthClient(ctx context.Context, s claviger.Scope, connector, method string) error {
	if err := organizationWide(s); err != nil {
		return err
	}
	return mustTouch(ctx, tx.q, ErrNotFound, `UPDATE oauth_clients SET client_id = '', key_id = '', certificate = $1, sealed = $1, secret_keys = '', secret_ends_at = 0, certificate_ends_at = 0, updated_at = $2
		WHERE organization = $3 AND connector = $4 AND auth_method = $5 AND client_id <> ''`,
		[]byte{}, millis(tx.db.now()), string(s.Organization()), connector, method)
}
