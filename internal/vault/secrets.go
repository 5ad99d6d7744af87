package vault

import (
	"bytes"
	"context"
	"errors"
	"maps"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/store"
)

// referencePrefix begins a credential value that names a secret instead of being one.
const referencePrefix = "kv://"

// References answers the kv:// paths among the values, and for each the field that
// names it. An ill-formed reference is a KindInvalid that names the field.
func References(creds claviger.Credentials) (map[string]string, error) {
	out := map[string]string{}
	for field, value := range creds {
		ref := reference(value)
		if ref == "" {
			continue
		}
		path, err := claviger.ParseSecretPath(ref)
		if err != nil {
			e := *claviger.AsError(err)
			e.Param = "credentials." + field
			return nil, &e
		}
		out[field] = path
	}
	return out, nil
}

// reference answers the value if it is a reference, which is no secret, else "".
func reference(s claviger.Secret) (ref string) {
	s.Use(func(b []byte) {
		if bytes.HasPrefix(b, []byte(referencePrefix)) {
			ref = string(b)
		}
	})
	return ref
}

// Resolve answers the credentials with every kv:// reference replaced by the value it
// names now. Nothing is cached: a changed value takes effect at its next use.
func (v *Vault) Resolve(ctx context.Context, t *gate.Ticket, creds claviger.Credentials) (claviger.Credentials, error) {
	paths, err := References(creds)
	if err != nil || len(paths) == 0 {
		return creds, err
	}
	out := maps.Clone(creds)
	for field, path := range paths {
		value, err := v.secret(ctx, t, path)
		if err != nil {
			return nil, err
		}
		out[field] = value
	}
	return out, nil
}

func (v *Vault) secret(ctx context.Context, t *gate.Ticket, path string) (claviger.Secret, error) {
	organization, ok := t.Secrets()
	if !ok {
		return claviger.Secret{}, ErrNoTicket
	}
	if v.external != nil {
		value, err := v.external.Get(ctx, organization, path)
		return value, named(err, path)
	}
	meta, sealed, err := v.db.Secret(ctx, t.Caller().Scope, path)
	if errors.Is(err, store.ErrNotFound) {
		return claviger.Secret{}, Missing(path)
	}
	if err != nil {
		return claviger.Secret{}, err
	}
	k, err := v.opening(ctx, organization, sealed)
	if err != nil {
		return claviger.Secret{}, err
	}
	plain, err := k.Open(secretBinding(organization, path, meta.Version), sealed)
	if err != nil {
		return claviger.Secret{}, unreadable(err)
	}
	return claviger.NewSecret(plain), nil
}

// Present reports whether a value is stored at a path. An external store is asked for the
// value itself: most have no other question.
func (v *Vault) Present(ctx context.Context, t *gate.Ticket, path string) (bool, error) {
	_, err := v.secret(ctx, t, path)
	if claviger.IsKind(err, claviger.KindReauthorize) {
		return false, nil
	}
	return err == nil, err
}

// Embedded reports whether kv:// resolves in claviger's own database.
func (v *Vault) Embedded() bool { return v.external == nil }

// named answers an external store's refusal with the path in the one form that callers
// know, whatever the store called it.
func named(err error, path string) error {
	if err == nil {
		return nil
	}
	e := *claviger.AsError(err)
	if e.Kind == claviger.KindNotFound {
		return Missing(path)
	}
	e.Path = path
	return &e
}

// Missing is the refusal where nothing is stored at a path, or nothing that may be used.
func Missing(path string) *claviger.Error {
	e := claviger.Errorf(claviger.KindReauthorize, "secret_missing", "No value is stored at kv://%s. Set it with: claviger secret set %s", path, path)
	e.Path = path
	return e
}

// SealSecret seals the next version of a kv:// secret.
func (v *Vault) SealSecret(ctx context.Context, t *gate.Ticket, path string, version int64, value claviger.Secret) (sealed claviger.Sealed, err error) {
	organization, ok := t.Secrets()
	if !ok {
		return nil, ErrNoTicket
	}
	k, err := v.keyset(ctx, organization)
	if err != nil {
		return nil, err
	}
	value.Use(func(b []byte) { sealed, err = k.Seal(secretBinding(organization, path, version), b) })
	return sealed, err
}

func secretBinding(organization claviger.OrganizationID, path string, version int64) claviger.Binding {
	return claviger.Binding{Purpose: "secret", Organization: organization, ID: path, Revision: version}
}
