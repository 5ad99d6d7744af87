package vault

import (
	"context"
	"fmt"
	"maps"
	"time"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/store"
)

// Accepted is one set of values that a webhook slot accepts, and the name of it for the
// ledger: the version of the secret, or "current" where versions are not known.
type Accepted struct {
	ID          string
	Credentials claviger.Credentials
}

// Accepted opens what a webhook slot verifies with: its present values and, for a while
// after a rotation, those before. versions are the stored values of each path that the
// connection refers to, of which those that have ended are passed over. Without a value
// it is KindReauthorize with code secret_missing.
func (v *Vault) Accepted(ctx context.Context, t *gate.Ticket, conn *claviger.Connection, sealed claviger.Sealed, versions map[string][]store.SecretVersion) ([]Accepted, error) {
	stored, err := v.Stored(ctx, t, conn, sealed)
	if err != nil {
		return nil, err
	}
	paths, err := References(stored)
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 || v.external != nil {
		creds, err := v.Resolve(ctx, t, stored)
		return []Accepted{{"current", creds}}, err
	}
	now := v.now()
	current, previous := Accepted{ID: "current", Credentials: maps.Clone(stored)}, Accepted{Credentials: maps.Clone(stored)}
	for field, path := range paths {
		list := living(versions[path], now)
		if len(list) == 0 || !list[0].Until.IsZero() {
			return nil, Missing(path)
		}
		for i, of := range []*Accepted{&current, &previous} {
			x := list[min(i, len(list)-1)]
			if of.Credentials[field], err = v.openVersion(ctx, conn.Organization, path, x); err != nil {
				return nil, err
			}
			if of.ID == "" && i < len(list) || of.ID == "current" {
				of.ID = fmt.Sprintf("v%d", x.Version)
			}
		}
	}
	if previous.ID == "" {
		return []Accepted{current}, nil
	}
	return []Accepted{current, previous}, nil
}

func living(all []store.SecretVersion, now time.Time) (out []store.SecretVersion) {
	for _, x := range all {
		if x.Until.IsZero() || x.Until.After(now) {
			out = append(out, x)
		}
	}
	return out
}

func (v *Vault) openVersion(ctx context.Context, organization claviger.OrganizationID, path string, x store.SecretVersion) (claviger.Secret, error) {
	plain, err := v.openAt(ctx, secretBinding(organization, path, x.Version), x.Sealed)
	if err != nil {
		return claviger.Secret{}, err
	}
	defer clear(plain)
	return claviger.NewSecret(plain), nil
}

func (v *Vault) openAt(ctx context.Context, b claviger.Binding, sealed claviger.Sealed) ([]byte, error) {
	k, err := v.opening(ctx, b.Organization, sealed)
	if err != nil {
		return nil, err
	}
	plain, err := k.Open(b, sealed)
	if err != nil {
		return nil, unreadable(err)
	}
	return plain, nil
}

// SealInbound seals the body of a delivery that the ticket's slot has verified.
func (v *Vault) SealInbound(ctx context.Context, t *gate.Ticket, e *claviger.InboundEvent, body []byte) (claviger.Sealed, error) {
	if !t.Covers(e.Organization, e.Connection) {
		return nil, ErrNoTicket
	}
	k, err := v.keyset(ctx, e.Organization)
	if err != nil {
		return nil, err
	}
	return k.Seal(e.Binding(), body)
}

// OpenInbound opens a delivery's body for whoever was admitted to that delivery.
func (v *Vault) OpenInbound(ctx context.Context, t *gate.Ticket, e *claviger.InboundEvent, sealed claviger.Sealed) ([]byte, error) {
	if !t.Valid() {
		return nil, ErrNoTicket
	}
	if r := t.Resource(); r.Type != "inbound_event" || r.ID != string(e.ID) || r.Organization != e.Organization {
		return nil, ErrNoTicket
	}
	return v.openAt(ctx, e.Binding(), sealed)
}
