package broker

import (
	"context"
	"errors"
	"strings"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/store"
)

// maxSecret bounds a stored value.
const maxSecret = 64 << 10

// PutSecret stores the next version of a kv:// secret. The value takes effect at the
// next use of every connection that refers to it. Where a webhook slot does, what is
// signed with the value before is accepted for a day.
func (b *Broker) PutSecret(ctx context.Context, c claviger.Caller, path string, value claviger.Secret) (meta claviger.SecretMeta, err error) {
	r := orgWide(c, "secret", path)
	if err := b.gate.Check(ctx, c, claviger.SecretsWrite, r); err != nil {
		return meta, err
	}
	if err := b.checkSecretPath(ctx, c.Scope, path); err != nil {
		return meta, err
	}
	if !b.vault.Embedded() {
		return meta, claviger.Errorf(claviger.KindConflict, "external_secret_store",
			"This instance resolves kv:// in an external store (setting secrets), which claviger only reads. Store the value there.")
	}
	size, mask := 0, false
	value.Use(func(v []byte) { size, mask = len(v), claviger.IsMask(string(v)) })
	if size == 0 || size > maxSecret {
		return meta, claviger.Invalid("value", "invalid_format", "A value has 1 to %d bytes. To remove a secret, delete it.", maxSecret)
	}
	if mask {
		return meta, claviger.Invalid("value", "invalid_format", "This is the mark that stands for a stored value. Send the real one, or leave what is stored.")
	}
	if err := b.vault.Prepare(ctx, r.Organization); err != nil {
		return meta, err
	}
	var waited []store.SlotPlace
	err = b.gate.Change(ctx, c, claviger.SecretsWrite, r, func(tx *store.Tx, t *gate.Ticket) error {
		if err := tx.KeepSecret(ctx, c.Scope, path, b.now().Add(secretOverlap)); err != nil {
			return err
		}
		meta, err = tx.PutSecret(ctx, c.Scope, path, func(version int64) (claviger.Sealed, error) {
			return b.vault.SealSecret(ctx, t, path, version, value)
		})
		if err != nil {
			return err
		}
		waited, err = tx.SettleSlots(ctx, c.Scope, path)
		return err
	})
	if err != nil {
		return meta, err
	}
	b.receivers.clear()
	if err := b.settle(ctx, waited); err != nil {
		return meta, err
	}
	meta, _, err = b.db.Secret(ctx, c.Scope, path) // with who uses it
	return meta, err
}

func (b *Broker) checkSecretPath(ctx context.Context, s claviger.Scope, path string) error {
	if _, err := claviger.ParseSecretPath("kv://" + path); err != nil {
		e := *claviger.AsError(err)
		e.Param = "path"
		return &e
	}
	first, _, _ := strings.Cut(path, "/")
	if first == sharedPath {
		return nil
	}
	if _, err := b.connector(ctx, s, first, 0); err != nil {
		return foreignPath("path", first)
	}
	return nil
}

// sharedPath is the first segment of secrets that any connection of the organization
// may refer to. The others belong to one connector.
const sharedPath = "shared"

// ownPath refuses a connection's reference to another connector's secrets.
func ownPath(path, connector string) *claviger.Error {
	first, _, _ := strings.Cut(path, "/")
	if first == sharedPath || first == connector {
		return nil
	}
	return foreignPath("", first)
}

func foreignPath(param, first string) *claviger.Error {
	return claviger.Invalid(param, "foreign_secret_path", "A path begins with %q or with the key of the connector it is for; %q is neither.", sharedPath, first)
}

// Secret answers what may be known of a stored secret, never its value.
func (b *Broker) Secret(ctx context.Context, c claviger.Caller, path string) (claviger.SecretMeta, error) {
	r := orgWide(c, "secret", path)
	if err := b.gate.Check(ctx, c, claviger.SecretsRead, r); err != nil {
		return claviger.SecretMeta{}, err
	}
	meta, _, err := b.db.Secret(ctx, c.Scope, path)
	if errors.Is(err, store.ErrNotFound) {
		return meta, b.gate.Absent(ctx, c, claviger.SecretsRead, r)
	}
	return meta, err
}

// Secrets lists the stored secrets whose path begins with prefix, by path.
func (b *Broker) Secrets(ctx context.Context, c claviger.Caller, prefix string, p Page) ([]claviger.SecretMeta, bool, error) {
	if err := b.gate.Check(ctx, c, claviger.SecretsRead, orgWide(c, "secret", "")); err != nil {
		return nil, false, err
	}
	list, err := b.db.Secrets(ctx, c.Scope, prefix, p.plusOne())
	list, more := cut(p, list)
	return list, more, err
}

// DeleteSecret destroys a stored secret. Connections that refer to it answer
// secret_missing from then on.
func (b *Broker) DeleteSecret(ctx context.Context, c claviger.Caller, path string) error {
	defer b.receivers.clear()
	return b.gate.Change(ctx, c, claviger.SecretsDelete, orgWide(c, "secret", path), func(tx *store.Tx, _ *gate.Ticket) error {
		err := tx.DeleteSecret(ctx, c.Scope, path)
		if errors.Is(err, store.ErrNotFound) {
			return claviger.NotFound("secret")
		}
		return err
	})
}
