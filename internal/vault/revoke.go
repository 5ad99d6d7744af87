package vault

import (
	"context"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/oauth"
	"claviger/internal/seal"
	"claviger/internal/store"
)

// JournaledAnswer is, among what a revocation is done with, a vendor's answer to a
// refresh that nobody has read: its tokens live.
const JournaledAnswer = "answer"

// forRevocation are the values of a connection that revoking its tokens takes: the
// tokens, and the client that some connections bring.
func forRevocation() []string {
	return []string{AccessToken, RefreshToken, "clientId", "keyId", "certificate", ClientSecret, ClientPrivateKey, ServiceAccount}
}

func revocationBinding(conn *claviger.Connection, revision int64) claviger.Binding {
	b := conn.Binding()
	b.Purpose, b.Revision = "revocation", revision
	return b
}

// SealRevocation seals the tokens of a connection that is being deleted for their
// revocation alone. They pass from one ciphertext to the other within this function,
// whose ticket is the deletion's: nobody gets to see them. conn is as it was.
func (v *Vault) SealRevocation(ctx context.Context, t *gate.Ticket, conn *claviger.Connection, sealed claviger.Sealed) (claviger.Sealed, error) {
	stored, err := v.Stored(ctx, t, conn, sealed)
	if err != nil {
		return nil, err
	}
	kept := claviger.Credentials{}
	for _, name := range forRevocation() {
		if value := stored[name]; !value.Empty() {
			kept[name] = value
		}
	}
	return v.sealFor(ctx, conn, conn.Revision, kept)
}

// SealIssued is SealRevocation for tokens that were issued after the connection was
// deleted, as a revision of their own.
func (v *Vault) SealIssued(ctx context.Context, t *gate.Ticket, conn *claviger.Connection, revision int64, tokens claviger.Credentials) (claviger.Sealed, error) {
	if !t.Covers(conn.Organization, conn.ID) {
		return nil, ErrNoTicket
	}
	return v.sealFor(ctx, conn, revision, tokens)
}

// SealAnswer is SealRevocation for a vendor's answer that is in the journal of a
// connection's refresh: the tokens in it are to be revoked as those of the next revision.
func (v *Vault) SealAnswer(ctx context.Context, t *gate.Ticket, conn *claviger.Connection, answer claviger.Sealed) (claviger.Sealed, error) {
	if !t.Covers(conn.Organization, conn.ID) {
		return nil, ErrNoTicket
	}
	k, err := v.opening(ctx, conn.Organization, answer)
	if err != nil {
		return nil, err
	}
	plain, err := k.Open(answerBinding(conn), answer)
	if err != nil {
		return nil, unreadable(err)
	}
	return v.sealFor(ctx, conn, conn.Revision+1, claviger.Credentials{JournaledAnswer: claviger.NewSecret(plain)})
}

func (v *Vault) sealFor(ctx context.Context, conn *claviger.Connection, revision int64, values claviger.Credentials) (claviger.Sealed, error) {
	k, err := v.keyset(ctx, conn.Organization)
	if err != nil {
		return nil, err
	}
	return seal.SealCredentials(k, revocationBinding(conn, revision), values)
}

// OpenRevocation opens what a revocation of a deleted connection is done with: its
// tokens, and the OAuth client that they were issued to. conn is the tombstone.
//
// Errors: those of [Vault.Fresh], and KindConflict with code oauth_client_missing.
func (v *Vault) OpenRevocation(ctx context.Context, t *gate.Ticket, conn *claviger.Connection, m *claviger.AuthMethod, r store.Revocation) (claviger.Credentials, claviger.OAuthClient, error) {
	if !t.Covers(conn.Organization, conn.ID) {
		return nil, claviger.OAuthClient{}, ErrNoTicket
	}
	k, err := v.opening(ctx, conn.Organization, r.Sealed)
	if err != nil {
		return nil, claviger.OAuthClient{}, err
	}
	values, err := seal.OpenCredentials(k, revocationBinding(conn, r.Revision), r.Sealed)
	if err != nil {
		return nil, claviger.OAuthClient{}, unreadable(err)
	}
	return v.withClient(ctx, t, conn, m, values)
}

// OpenGivenUp is OpenRevocation for the tokens that wait in a flow that was given up.
func (v *Vault) OpenGivenUp(ctx context.Context, t *gate.Ticket, f *claviger.ConnectFlow, m *claviger.AuthMethod, sealed claviger.Sealed) (claviger.Credentials, claviger.OAuthClient, error) {
	values, err := v.OpenFlow(ctx, t, f, sealed)
	if err != nil {
		return nil, claviger.OAuthClient{}, err
	}
	return v.withClient(ctx, t, &f.Draft, m, values)
}

// withClient finds the OAuth client that tokens were issued to.
func (v *Vault) withClient(ctx context.Context, t *gate.Ticket, conn *claviger.Connection, m *claviger.AuthMethod, values claviger.Credentials) (claviger.Credentials, claviger.OAuthClient, error) {
	values, err := v.Resolve(ctx, t, values)
	if err != nil {
		return nil, claviger.OAuthClient{}, err
	}
	if !values["clientId"].Empty() || !values[ServiceAccount].Empty() {
		client, err := ownClient(values)
		return values, client, err
	}
	client, err := v.Client(ctx, t, conn.Connector, m)
	return values, client, err
}

// IssuedIn reads the tokens out of an answer that a revocation carries. An answer that
// is a refusal, or unintelligible, has none.
func IssuedIn(cfg oauth.Config, client claviger.OAuthClient, values claviger.Credentials) (claviger.Credentials, error) {
	raw, err := oauth.FromJournal(values[JournaledAnswer])
	if err != nil {
		return nil, err
	}
	if oauth.Classify(cfg, raw).Verdict != oauth.Granted {
		return nil, nil
	}
	tokens, err := oauth.Parse(cfg, client, raw)
	if err != nil {
		return nil, err
	}
	return claviger.Credentials{AccessToken: tokens.Access, RefreshToken: tokens.Refresh}, nil
}
