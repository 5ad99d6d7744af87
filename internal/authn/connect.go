package authn

import (
	"context"
	"errors"
	"io"

	"claviger"
	"claviger/internal/store"
)

const connectPrefix = "clv_connect_"

// NewConnectToken makes the token in the address of a connect page, 256 random bits as
// "clv_connect_" + 43 characters + 6 of checksum, and its SHA-256.
func NewConnectToken(random io.Reader) (token claviger.Secret, hash []byte, err error) {
	text, hash, err := newToken(connectPrefix, random)
	return claviger.NewSecretString(text), hash, err
}

// AuthenticateConnect finds the caller behind the token of a connect page. It acts for
// its session alone, whose id is the caller's. What became of the session is the
// core's to judge; an unknown token is the KindNotFound of a page that is not there.
func (a *Authority) AuthenticateConnect(ctx context.Context, token string, from claviger.Request) (claviger.Caller, error) {
	absent := claviger.Errorf(claviger.KindNotFound, "unknown_session", "There is nothing at this address. Ask the application that sent you for a new link.")
	if !wellFormed(connectPrefix, token) {
		return claviger.Caller{}, absent
	}
	s, err := a.db.ConnectSessionByHash(ctx, HashToken(token))
	if errors.Is(err, store.ErrNotFound) {
		_, err = a.refused(ctx, from, refuse("unknown_session"))
		return claviger.Caller{}, absent.With(err)
	}
	if err != nil {
		return claviger.Caller{}, unavailable(err)
	}
	return Connecting(s.Organization, s.Workspace, string(s.ID), from), nil
}

// Connecting answers the caller of a browser within a connect session or flow, which it
// acts for and for nothing else: id names it in the ledger. What it may do to that is
// the core's to check; the gate lets it make and renew connections of the workspace.
func Connecting(organization claviger.OrganizationID, workspace claviger.WorkspaceID, id string, from claviger.Request) claviger.Caller {
	rights, _ := claviger.PermissionsOf(claviger.ConnectorsRead, claviger.ConnectionsCreate, claviger.ConnectionsUpdate)
	return claviger.Caller{
		Kind: claviger.CallerConnect, ID: id, Scope: claviger.Authenticated(organization, workspace), Permissions: rights, From: from,
	}
}
