package vault

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/seal"
	"claviger/internal/store"
)

// The sealed values of an OAuth client.
const (
	ClientSecret     = "clientSecret"
	ClientPrivateKey = "privateKey"
	ClientFormer     = "formerSecret" // the secret before ClientSecret
	ClientFormerEnd  = "formerUntil"  // when ClientFormer is forgotten, RFC 3339
)

// SealClient seals the secrets of an organization's OAuth client for its next version.
// The ticket is one for that client.
func (v *Vault) SealClient(ctx context.Context, t *gate.Ticket, next store.OAuthClient, secrets claviger.Credentials) (claviger.Sealed, error) {
	if !admitsClient(t, next.Organization, next.Connector) {
		return nil, ErrNoTicket
	}
	k, err := v.keyset(ctx, next.Organization)
	if err != nil {
		return nil, err
	}
	return seal.SealCredentials(k, clientBinding(next), secrets)
}

// StoredClient opens what [Vault.SealClient] sealed, to be sealed anew.
func (v *Vault) StoredClient(ctx context.Context, t *gate.Ticket, row store.OAuthClient, sealed claviger.Sealed) (claviger.Credentials, error) {
	if !admitsClient(t, row.Organization, row.Connector) {
		return nil, ErrNoTicket
	}
	k, err := v.opening(ctx, row.Organization, sealed)
	if err != nil {
		return nil, err
	}
	secrets, err := seal.OpenCredentials(k, clientBinding(row), sealed)
	if err != nil {
		return nil, unreadable(err)
	}
	return secrets, nil
}

// Client opens the organization's OAuth client for an auth method of a connector. The
// ticket is one for a connection of that connector, or for the client itself.
//
// Errors: KindConflict "oauth_client_missing", and "destination_changed" where the method
// has come to lead elsewhere than where the client's secrets were given for.
func (v *Vault) Client(ctx context.Context, t *gate.Ticket, connector string, m *claviger.AuthMethod) (claviger.OAuthClient, error) {
	if !t.Valid() {
		return claviger.OAuthClient{}, ErrNoTicket
	}
	row, sealed, err := v.db.OAuthClient(ctx, t.Caller().Scope, connector, m.Key)
	if errors.Is(err, store.ErrNotFound) {
		return claviger.OAuthClient{}, NoClient(connector)
	}
	if err != nil {
		return claviger.OAuthClient{}, err
	}
	secrets, err := v.StoredClient(ctx, t, row, sealed)
	if err != nil {
		return claviger.OAuthClient{}, err
	}
	if len(secrets) > 0 && !within(row, m) { // whatever the row says of its secrets
		return claviger.OAuthClient{}, ClientMoved(connector)
	}
	client := claviger.OAuthClient{
		ID: row.ClientID, KeyID: row.KeyID, Certificate: row.Certificate,
		Secret: secrets[ClientSecret], PrivateKey: secrets[ClientPrivateKey],
	}
	if end, err := time.Parse(time.RFC3339, text(secrets[ClientFormerEnd])); err == nil && v.now().Before(end) {
		client.Former = secrets[ClientFormer]
	}
	return client, nil
}

// ClientPlaces answers where the secrets of a client may go once they are given for an
// auth method, too: connections of older versions of its connector still need them there.
func ClientPlaces(row store.OAuthClient, m *claviger.AuthMethod) string {
	places := append(strings.Fields(row.Destination), m.OAuth.Places(nil)...)
	slices.Sort(places)
	return strings.Join(slices.Compact(places), " ")
}

// ClientFits reports whether the secrets of a client were given for all places that an
// auth method sends them to.
func ClientFits(row store.OAuthClient, m *claviger.AuthMethod) bool {
	return len(row.SecretKeys) == 0 || within(row, m)
}

func within(row store.OAuthClient, m *claviger.AuthMethod) bool {
	given := strings.Fields(row.Destination)
	return !slices.ContainsFunc(m.OAuth.Places(nil), func(place string) bool { return !slices.Contains(given, place) })
}

// ClientMoved is the refusal to send a client's secrets to where they were not given for.
func ClientMoved(connector string) *claviger.Error {
	return claviger.Errorf(claviger.KindConflict, "destination_changed",
		"The connector %s now sends the secrets of its OAuth client to another host than they were given for. Send them again with PUT /v1/connectors/%s/client to approve of it.", connector, connector)
}

// NoClient is the refusal where an organization has not registered itself at a vendor.
func NoClient(connector string) *claviger.Error {
	return claviger.Errorf(claviger.KindConflict, "oauth_client_missing",
		"There is no OAuth client for %s yet. Register one at the vendor and store it with PUT /v1/connectors/%s/client.", connector, connector)
}

// admitsClient reports whether a ticket was made for the client of a connector: by
// itself, or on the way of one of its connections.
func admitsClient(t *gate.Ticket, organization claviger.OrganizationID, connector string) bool {
	if !t.Valid() {
		return false
	}
	r := t.Resource()
	return r.Organization == organization && r.Connector == connector && (r.Type == "oauth_client" || r.Connection != "")
}

func clientBinding(c store.OAuthClient) claviger.Binding {
	return claviger.Binding{Purpose: "oauth-client", Organization: c.Organization, ID: c.Connector + "/" + c.AuthMethod, Revision: c.Version, Destination: c.Destination}
}
