package broker

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"maps"
	"slices"
	"time"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/store"
	"claviger/internal/vault"
)

// OAuthClient is an organization's registration at a vendor as it may be seen.
type OAuthClient struct {
	Connector   string
	AuthMethod  string
	ClientID    string // empty: there is no registration yet
	KeyID       string
	Certificate string // PEM, which is public
	// When the secret ends, as somebody said, and the certificate; zero: unknown, or never.
	SecretEndsAt, CertificateEndsAt time.Time
	Secrets                         []string // which of clientSecret and privateKey are set
	RedirectURI                     string   // to be registered at the vendor
	Version                         int64
}

// OAuthClientChange is the input of [Broker.PutOAuthClient]: the whole registration. A
// secret that is left out keeps its value as long as the client id stays the same.
type OAuthClientChange struct {
	Connector   string
	AuthMethod  string // empty: the connector's only oauth2 method
	ClientID    string
	KeyID       string
	Certificate string
	Secrets     claviger.Credentials // clientSecret, privateKey
	// SecretEndsAt is when the vendor ends the client secret; zero: unknown, or never, or,
	// where the secret stays, as before.
	SecretEndsAt time.Time
	// KeepFormer is how long the secret before a new one is tried where the vendor refuses
	// the new one: vendors take a while to rotate. Zero: not at all.
	KeepFormer time.Duration
}

const (
	maxClientID    = 512
	maxCertificate = 64 << 10
	maxKeepFormer  = 30 * 24 * time.Hour
)

// redirectURI is where a vendor sends browsers back to. It is one per organization and
// connector, so that a hostile connector's codes can never be mistaken for another's.
func (b *Broker) redirectURI(organization claviger.OrganizationID, connector string) string {
	return b.publicURL + "/oauth/callback/" + string(organization) + "/" + connector
}

// oauthMethod finds an oauth2 method of a connector by its key, or the only one, among
// those whose connections bring no client of their own.
func oauthMethod(k *claviger.Connector, key string) (*claviger.AuthMethod, error) {
	var found []*claviger.AuthMethod
	brings := false
	for i := range k.Auth {
		m := &k.Auth[i]
		if m.OAuth == nil || key != "" && m.Key != key {
			continue
		}
		if m.BringsClient() {
			brings = true
		} else {
			found = append(found, m)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) == 0 && brings:
		return nil, claviger.Invalid("authMethod", "own_client", "Each connection of %s by this method brings its own client, among its credentials.", k.Key)
	case len(found) == 0:
		return nil, claviger.Invalid("authMethod", "unknown_auth_method", "The connector %s has no such auth method of type oauth2.", k.Key)
	}
	return nil, claviger.Invalid("authMethod", "required", "The connector %s has several auth methods of type oauth2. Name one.", k.Key)
}

func clientResource(c claviger.Caller, connector string) claviger.Resource {
	r := orgWide(c, "oauth_client", connector)
	r.Connector = connector
	return r
}

// OAuthClient answers what is set of the organization's registration for a connector,
// and the redirect URI to register.
func (b *Broker) OAuthClient(ctx context.Context, c claviger.Caller, connector, method string) (OAuthClient, error) {
	r := clientResource(c, connector)
	if err := b.gate.Check(ctx, c, claviger.ConnectorsRead, r); err != nil {
		return OAuthClient{}, err
	}
	m, err := b.clientMethod(ctx, c, claviger.ConnectorsRead, r, method)
	if err != nil {
		return OAuthClient{}, err
	}
	row, _, err := b.db.OAuthClient(ctx, c.Scope, connector, m.Key)
	if errors.Is(err, store.ErrNotFound) {
		row, err = store.OAuthClient{Connector: connector, AuthMethod: m.Key}, nil
	}
	return b.seenClient(c, row), err
}

func (b *Broker) clientMethod(ctx context.Context, c claviger.Caller, v claviger.Verb, r claviger.Resource, method string) (*claviger.AuthMethod, error) {
	k, err := b.connector(ctx, c.Scope, r.Connector, 0)
	if claviger.IsKind(err, claviger.KindNotFound) {
		r.Type = "connector"
		return nil, b.gate.Absent(ctx, c, v, r)
	}
	if err != nil {
		return nil, err
	}
	return oauthMethod(k, method)
}

func (b *Broker) seenClient(c claviger.Caller, row store.OAuthClient) OAuthClient {
	return OAuthClient{
		Connector: row.Connector, AuthMethod: row.AuthMethod, ClientID: row.ClientID, KeyID: row.KeyID,
		Certificate: string(row.Certificate), Secrets: row.SecretKeys, Version: row.Version,
		SecretEndsAt: row.SecretEndsAt, CertificateEndsAt: row.CertificateEndsAt, RedirectURI: b.redirectURI(c.Scope.Organization(), row.Connector),
	}
}

// PutOAuthClient stores the organization's registration for a connector. Its secrets are
// sealed and never answered.
func (b *Broker) PutOAuthClient(ctx context.Context, c claviger.Caller, in OAuthClientChange) (OAuthClient, error) {
	r := clientResource(c, in.Connector)
	if err := b.gate.Check(ctx, c, claviger.ConnectorsWrite, r); err != nil {
		return OAuthClient{}, err
	}
	m, err := b.clientMethod(ctx, c, claviger.ConnectorsWrite, r, in.AuthMethod)
	if err != nil {
		return OAuthClient{}, err
	}
	certificateEnds, err := b.checkClient(in)
	if err != nil {
		return OAuthClient{}, err
	}
	old, err := b.clientSecrets(ctx, c, r, m, in.ClientID)
	if err != nil {
		return OAuthClient{}, err
	}
	secrets := b.replaced(old, in)
	if err := needsOf(m.OAuth.ClientAuth, in, secrets); err != nil {
		return OAuthClient{}, err
	}
	if err := b.vault.Prepare(ctx, c.Scope.Organization()); err != nil {
		return OAuthClient{}, err
	}
	var row store.OAuthClient
	err = b.gate.Change(ctx, c, claviger.ConnectorsWrite, r, func(tx *store.Tx, t *gate.Ticket) (err error) {
		row, err = tx.PutOAuthClient(ctx, c.Scope, in.Connector, m.Key, func(next store.OAuthClient, _ claviger.Sealed) (store.OAuthClient, claviger.Sealed, error) {
			stays := next.ClientID == in.ClientID && in.Secrets[vault.ClientSecret].Empty() && in.SecretEndsAt.IsZero()
			if next.CertificateEndsAt = certificateEnds; !stays {
				next.SecretEndsAt = in.SecretEndsAt
			}
			if next.ClientID != in.ClientID {
				next.Destination = ""
			}
			next.Destination = vault.ClientPlaces(next, m)
			next.ClientID, next.KeyID, next.Certificate = in.ClientID, in.KeyID, []byte(in.Certificate)
			next.SecretKeys = slices.DeleteFunc(slices.Sorted(maps.Keys(secrets)), func(key string) bool { return key == vault.ClientFormerEnd })
			sealed, err := b.vault.SealClient(ctx, t, next, secrets)
			return next, sealed, err
		})
		return err
	})
	return b.seenClient(c, row), conflict(err)
}

// replaced answers the secrets of a registration after a change. The secret before a new
// one is kept for a while if that is wanted, and whatever was kept before goes.
func (b *Broker) replaced(old claviger.Credentials, in OAuthClientChange) claviger.Credentials {
	secrets := claviger.Credentials{}
	maps.Copy(secrets, old)
	maps.Copy(secrets, in.Secrets)
	if in.Secrets[vault.ClientSecret].Empty() {
		return secrets
	}
	delete(secrets, vault.ClientFormer)
	delete(secrets, vault.ClientFormerEnd)
	if former := old[vault.ClientSecret]; in.KeepFormer > 0 && !former.Empty() {
		secrets[vault.ClientFormer] = former
		secrets[vault.ClientFormerEnd] = claviger.NewSecretString(b.now().Add(in.KeepFormer).UTC().Format(time.RFC3339))
	}
	return secrets
}

// clientSecrets opens the stored secrets of the same client id, for the new version to
// keep. Those of another registration are not carried over, nor to another host.
func (b *Broker) clientSecrets(ctx context.Context, c claviger.Caller, r claviger.Resource, m *claviger.AuthMethod, clientID string) (claviger.Credentials, error) {
	row, sealed, err := b.db.OAuthClient(ctx, c.Scope, r.Connector, m.Key)
	if errors.Is(err, store.ErrNotFound) || err == nil && (row.ClientID != clientID || !vault.ClientFits(row, m)) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	t, err := b.gate.Admit(ctx, c, claviger.ConnectorsWrite, r, "")
	if err != nil {
		return nil, err
	}
	secrets, err := b.vault.StoredClient(ctx, t, row, sealed)
	t.Done(gate.Ending{Err: err})
	if claviger.IsKind(err, claviger.KindInternal) {
		return nil, nil // damaged: the new ones must be whole
	}
	return secrets, err
}

// checkClient refuses what is no registration, and answers when its certificate ends.
func (b *Broker) checkClient(in OAuthClientChange) (certificateEnds time.Time, err error) {
	switch {
	case in.ClientID == "":
		return certificateEnds, claviger.Invalid("clientId", "required", "A client id is needed: the vendor shows it where you registered.")
	case len(in.ClientID) > maxClientID || !printable(in.ClientID):
		return certificateEnds, claviger.Invalid("clientId", "invalid_format", "A client id has at most %d printable characters.", maxClientID)
	case len(in.KeyID) > maxClientID || !printable(in.KeyID):
		return certificateEnds, claviger.Invalid("keyId", "invalid_format", "A key id has at most %d printable characters.", maxClientID)
	case len(in.Certificate) > maxCertificate:
		return certificateEnds, claviger.Invalid("certificate", "invalid_format", "A certificate chain has at most 64 KiB.")
	case !in.SecretEndsAt.IsZero() && !in.SecretEndsAt.After(b.now()):
		return certificateEnds, claviger.Invalid("clientSecretExpiresAt", "invalid_format", "This time has passed. Make a new secret at the vendor, or leave the time out.")
	}
	if in.KeepFormer < 0 || in.KeepFormer > maxKeepFormer || in.KeepFormer > 0 && in.Secrets[vault.ClientSecret].Empty() {
		return certificateEnds, claviger.Invalid("keepFormerFor", "invalid_format", "It goes with a new clientSecret and is at most 720h.")
	}
	for key, value := range in.Secrets {
		if key != vault.ClientSecret && key != vault.ClientPrivateKey {
			return certificateEnds, claviger.Invalid(key, "unknown_credential", "A client has clientSecret and privateKey.")
		}
		if value.Empty() {
			return certificateEnds, claviger.Invalid(key, "invalid_format", "It is empty. Leave it out to keep what is stored.")
		}
	}
	if in.Certificate == "" {
		return certificateEnds, nil
	}
	block, _ := pem.Decode([]byte(in.Certificate))
	if block == nil || block.Type != "CERTIFICATE" {
		return certificateEnds, claviger.Invalid("certificate", "invalid_format", "This is no PEM certificate. Send the chain, leaf first, without the private key.")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return certificateEnds, claviger.Invalid("certificate", "invalid_format", "The first certificate cannot be read.").With(err)
	}
	return leaf.NotAfter, nil
}

// needsOf refuses a registration that the connector's way of client authentication
// could not be done with.
func needsOf(auth claviger.ClientAuth, in OAuthClientChange, secrets claviger.Credentials) error {
	switch auth {
	case claviger.ClientSecretBasic, claviger.ClientSecretPost:
		if secrets[vault.ClientSecret].Empty() {
			return claviger.Invalid("clientSecret", "required", "The vendor wants a client secret.")
		}
	case claviger.PrivateKeyJWT:
		if secrets[vault.ClientPrivateKey].Empty() {
			return claviger.Invalid("privateKey", "required", "The vendor wants a signed assertion: send the private key as PEM or as a JWK.")
		}
	case claviger.TLSClientAuth:
		if secrets[vault.ClientPrivateKey].Empty() || in.Certificate == "" {
			return claviger.Invalid("certificate", "required", "The vendor wants a client certificate: send it and its private key.")
		}
	}
	return nil
}
