package broker

import (
	"context"
	"maps"
	"slices"

	"claviger"
	"claviger/internal/catalog"
	"claviger/internal/gate"
	"claviger/internal/store"
)

// UpdateConnection changes a connection. New credentials are validated first and
// replace the old in one step: whatever goes wrong before leaves the old in use. A
// change that moves where the credential may go needs the credential again, unless it
// is the approval of a newer connector version.
func (b *Broker) UpdateConnection(ctx context.Context, c claviger.Caller, in ConnectionChange) (Connected, error) {
	const tries = 3 // of losing a race against another change of the same row
	for n := 1; ; n++ {
		out, err := b.updateOnce(ctx, c, in)
		if !isStale(err) || n == tries {
			if isStale(err) {
				err = claviger.Errorf(claviger.KindConflict, "conflict", "The connection was changed by somebody else at the same time. Read it again and repeat the change.")
			}
			return out, err
		}
	}
}

func (b *Broker) updateOnce(ctx context.Context, c claviger.Caller, in ConnectionChange) (Connected, error) {
	old, sealed, err := b.row(ctx, c, claviger.ConnectionsUpdate, in.ID)
	if err != nil {
		return Connected{}, err
	}
	if old.Status == claviger.StatusRevoked {
		return Connected{}, old.Status.Refusal()
	}
	l, err := b.revised(ctx, c, old, in)
	if err != nil {
		return Connected{}, err
	}
	r := renewal{broker: b, caller: c, in: in, old: old, sealed: sealed, live: l}
	if err := r.prepare(ctx); err != nil {
		return Connected{}, err
	}
	conn, err := r.commit(ctx)
	return Connected{Connection: conn, Warnings: r.warnings}, conflict(err)
}

// revised answers the connection with the plain facts of a change applied and checked.
func (b *Broker) revised(ctx context.Context, c claviger.Caller, old claviger.Connection, in ConnectionChange) (*live, error) {
	next := old
	if in.Name != nil {
		next.Name = *in.Name
		if err := checkName("name", next.Name); err != nil {
			return nil, err
		}
	}
	next.Metadata, next.Tags = merge(old.Metadata, in.Metadata), merge(old.Tags, in.Tags)
	if err := firstError(checkLabels("metadata", next.Metadata), checkLabels("tags", next.Tags)); err != nil {
		return nil, err
	}
	if in.ConnectorVersion != nil && *in.ConnectorVersion != old.ConnectorVersion {
		if old.Owner != c.OwnerID() && !c.May(claviger.UsersUpdate) {
			return nil, claviger.Errorf(claviger.KindDenied, "permission_denied", "Only the connection's owner, or who administers users, may move it to another version of its connector.")
		}
		next.ConnectorVersion = *in.ConnectorVersion
	}
	connector, err := b.connector(ctx, c.Scope, next.Connector, next.ConnectorVersion)
	if claviger.IsKind(err, claviger.KindNotFound) {
		return nil, claviger.Invalid("connectorVersion", "unknown_version", "The connector %s has no such version.", next.Connector)
	}
	if err != nil {
		return nil, err
	}
	if in.Settings != nil {
		settings := maps.Clone(old.Settings)
		if settings == nil {
			settings = map[string]string{}
		}
		maps.Copy(settings, in.Settings)
		next.Settings = settings
	}
	if next.Settings, err = catalog.CheckSettings(connector.For(next.AuthMethod), next.Settings); err != nil {
		return nil, err
	}
	return b.ready(next, nil, connector)
}

// merge applies changes to a map: nil removes a key.
func merge(old map[string]string, changes map[string]*string) map[string]string {
	if len(changes) == 0 {
		return old
	}
	out := maps.Clone(old)
	if out == nil {
		out = map[string]string{}
	}
	for k, v := range changes {
		if v == nil {
			delete(out, k)
		} else {
			out[k] = *v
		}
	}
	return out
}

// renewal is one change of a connection on its way into the database.
type renewal struct {
	broker   *Broker
	caller   claviger.Caller
	in       ConnectionChange
	old      claviger.Connection
	sealed   claviger.Sealed
	live     *live                // what will be
	creds    claviger.Credentials // what will be sealed; nil: the old stay as they are
	grant    *store.Grant         // of tokens among them; nil for none
	idle     bool                 // no refresh may be under way
	warnings []string
}

// prepare finds out whether credentials must be sealed anew, and proves new ones.
func (r *renewal) prepare(ctx context.Context) error {
	given := len(r.in.Credentials) > 0 || len(r.in.ClearCredentials) > 0
	moved := !r.live.within(r.old.Destination)
	if !given && !moved {
		return nil
	}
	if err := blank(r.in.Credentials); err != nil {
		return err
	}
	if r.live.method.OAuth != nil {
		if moved {
			return tokensStay(false)
		}
		return r.remint(ctx)
	}
	if moved && !r.approved() {
		if err := r.needsSecrets(); err != nil {
			return err
		}
	}
	if err := r.merge(ctx); err != nil {
		return err
	}
	var err error
	if r.warnings, err = catalog.CheckCredentials(r.live.method, r.creds); err != nil {
		return err
	}
	if err := describeCredentials(r.live, r.creds); err != nil {
		return err
	}
	r.live.conn.Revision = r.old.Revision + 1
	if r.in.SkipValidation {
		r.live.conn.Health, r.live.conn.LastError = claviger.HealthUnknown, nil
		if len(r.in.Credentials) > 0 {
			r.activate()
		}
		return nil
	}
	return r.prove(ctx)
}

// tokensStay refuses to set tokens by hand, and to take those that a person consented to
// for one host to another.
func tokensStay(given bool) *claviger.Error {
	if given {
		return claviger.Invalid("credentials", "reconnect_required", "The vendor issues this connection's tokens. Connect it again with POST /v1/connect/sessions and its connectionId.")
	}
	return claviger.Invalid("settings", "reconnect_required", "This change moves the connection to another host, which its tokens were not issued for. Create a new connection there.")
}

// blank refuses a value of nothing: it would clear a secret that a form merely did not
// show. What is left out stays, and null clears.
func blank(given claviger.Credentials) error {
	for key, value := range given {
		if value.Empty() {
			return claviger.Invalid("credentials."+key, "invalid_format", "credentials.%s is empty. Leave it out to keep what is stored, or send null to clear it.", key)
		}
	}
	return nil
}

// activate ends the wait for new credentials.
func (r *renewal) activate() {
	if s := r.live.conn.Status; s == claviger.StatusPending || s == claviger.StatusReauthorize {
		r.live.conn.Status = claviger.StatusActive
	}
}

// approved reports whether the credential moves because its owner approves of another
// version of the connector. Settings in the same change do not ride on that: where they
// lead needs the secret again.
func (r *renewal) approved() bool {
	if r.live.conn.ConnectorVersion == r.old.ConnectorVersion {
		return false
	}
	if len(r.in.Settings) == 0 {
		return true
	}
	settings, err := catalog.CheckSettings(r.live.connector, r.old.Settings)
	if err != nil {
		return false
	}
	base, err := catalog.Base(r.live.connector, settings)
	return err == nil && claviger.Origin(base) == claviger.Origin(r.live.base)
}

// needsSecrets refuses to carry a stored secret to another origin: whoever may change a
// setting could otherwise send it to a host of their own. That holds for optional ones
// that have a value, too.
func (r *renewal) needsSecrets() error {
	for _, f := range r.live.method.Fields {
		_, given := r.in.Credentials[f.Key]
		kept := slices.Contains(r.old.SecretKeys, f.Key) && !slices.Contains(r.in.ClearCredentials, f.Key)
		if f.Secret && !given && (f.Required || kept) {
			return claviger.Invalid("credentials."+f.Key, "secret_required",
				"This change moves the connection to another host. Send the credential again with it.")
		}
	}
	return nil
}

// merge answers the stored credentials with the given ones over them. Opening the old
// ones is a use, so it is admitted and recorded like any other.
func (r *renewal) merge(ctx context.Context) error {
	b := r.broker
	t, err := b.gate.Admit(ctx, r.caller, claviger.ConnectionsUpdate, r.old.Resource(), "")
	if err != nil {
		return err
	}
	stored, err := b.vault.Stored(ctx, t, &r.old, r.sealed)
	t.Done(gate.Ending{Err: err})
	if err != nil && (len(r.in.Credentials) == 0 || claviger.AsError(err).Code != "credential_unreadable") {
		return err
	}
	r.creds = claviger.Credentials{}
	maps.Copy(r.creds, stored) // empty if the old are damaged: the new must then be whole
	maps.Copy(r.creds, r.in.Credentials)
	for _, key := range r.in.ClearCredentials {
		delete(r.creds, key)
	}
	return nil
}

func (r *renewal) prove(ctx context.Context) error {
	p, err := r.broker.validate(ctx, r.caller, claviger.ConnectionsUpdate, r.live, r.creds)
	if err != nil {
		return err
	}
	conn := &r.live.conn
	if other := p.account.ID != "" && r.old.Account.ID != "" && p.account.ID != r.old.Account.ID; other && !r.in.AllowAccountChange {
		return claviger.Errorf(claviger.KindConflict, "account_mismatch",
			"The new credentials belong to another account of the vendor. Create a connection of its own, or send allowAccountChange.")
	}
	conn.Health, conn.LastError = verdict(p)
	conn.LastCheckedAt = r.broker.now()
	if p.account.ID != "" {
		conn.Account = p.account
	}
	conn.GrantedScopes = p.scopes
	r.activate()
	return nil
}

// commit stores the change if the row is still the one it was prepared from.
func (r *renewal) commit(ctx context.Context) (conn claviger.Connection, err error) {
	b := r.broker
	if err := b.vault.Prepare(ctx, r.old.Organization); err != nil {
		return conn, err
	}
	err = b.gate.Change(ctx, r.caller, claviger.ConnectionsUpdate, r.old.Resource(), func(tx *store.Tx, t *gate.Ticket) error {
		sealed := r.sealed
		if r.creds != nil {
			if sealed, err = b.vault.Seal(ctx, t, &r.live.conn, r.creds); err != nil {
				return err
			}
		}
		conn, err = tx.UpdateConnection(ctx, r.caller.Scope, r.in.ID, func(now claviger.Connection, _ claviger.Sealed) (claviger.Connection, claviger.Sealed, error) {
			if now.Version != r.old.Version {
				return now, nil, errStale
			}
			next := r.live.conn
			next.UpdatedAt = b.now()
			return next, sealed, nil
		})
		if err != nil {
			return err
		}
		if r.grant != nil {
			if err := tx.PutGrant(ctx, r.caller.Scope, *r.grant); err != nil {
				return err
			}
		}
		if r.idle {
			if err := atRest(ctx, tx, r.caller.Scope, r.in.ID); err != nil {
				return err
			}
		}
		return b.announce(ctx, tx, claviger.EventConnectionUpdated, &conn)
	})
	b.lives.drop(r.in.ID)
	return conn, err
}
