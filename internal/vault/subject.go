package vault

import (
	"context"
	"errors"
	"slices"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/store"
)

// SubjectOf answers the access token of the connection that conn's values name, for conn
// to exchange for one of its own; nothing if they name none. The caller must be allowed verb on that connection, which the ledger has
// then; it lies in the same workspace, serves the same usage and is not another person's.
// One that is itself made from another connection is refused: there is no circle.
//
// Errors: those of [Vault.Fresh], a KindReauthorize with the other connection as its
// reference; KindInvalid with Param credentials.subjectConnection.
func (v *Vault) SubjectOf(ctx context.Context, c claviger.Caller, verb claviger.Verb, conn *claviger.Connection, values claviger.Credentials) (token claviger.Secret, err error) {
	id := claviger.ConnectionID(text(values[SubjectConnection]))
	if id == "" {
		return token, nil
	}
	absent := claviger.Invalid("credentials."+SubjectConnection, "unknown_connection", "The workspace has no such connection that could be exchanged. Name one of the same usage by its id, conn_....")
	if !claviger.ValidID(claviger.PrefixConnection, string(id)) || id == conn.ID || v.keep == nil {
		return token, absent
	}
	other, sealed, err := v.db.Connection(ctx, c.Scope, id)
	if errors.Is(err, store.ErrNotFound) {
		return token, absent
	}
	if err != nil {
		return token, err
	}
	foreign := other.Visibility == claviger.VisibilityPersonal && other.Owner != conn.Owner
	if foreign || other.Workspace != conn.Workspace || other.Usage != conn.Usage || slices.Contains(other.SecretKeys, SubjectConnection) || !slices.Contains(other.SecretKeys, AccessToken) {
		return token, absent
	}
	if refusal := other.Status.Refusal(); refusal != nil {
		return token, about(&other, refusal)
	}
	t, err := v.keep.Gate.Admit(ctx, c, verb, other.Resource(), "")
	if err != nil {
		return token, err
	}
	defer func() { t.Done(gate.Ending{Err: err}) }()
	creds, err := v.Fresh(ctx, t, &other, sealed)
	return creds[AccessToken], about(&other, err)
}

// about names the connection that an error is about, where that is not the one that was
// asked for.
func about(other *claviger.Connection, err error) error {
	if !claviger.IsKind(err, claviger.KindReauthorize) {
		return err
	}
	e := *claviger.AsError(err)
	e.References = []claviger.Reference{{Type: "connection", ID: string(other.ID), Name: other.Name}}
	return &e
}
