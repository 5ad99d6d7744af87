package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"claviger"
	"claviger/internal/store"
)

const victimsIssuer = "https://id.example.com"

// provesItself gives the victim's person a passkey, and an identity at a provider, which
// are known by the person's id.
func (v *victim) provesItself() {
	v.f.t.Helper()
	v.f.do(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.PutSingleSignOn(ctx, v.scope, func(next claviger.SingleSignOn, _ claviger.Sealed) (claviger.SingleSignOn, claviger.Sealed, error) {
			next.Issuer, next.ClientID, next.AllowedDomains = victimsIssuer, "claviger", []string{"example.com"}
			return next, claviger.Sealed("sealed"), nil
		})
		return errors.Join(err,
			tx.CreatePasskey(ctx, v.scope, v.passkey(string(v.user))),
			tx.LinkIdentity(ctx, v.scope, v.user, v.identity()))
	})
}

func (v *victim) passkey(id string) claviger.Passkey {
	return claviger.Passkey{
		ID: claviger.PasskeyID(id), Organization: v.org.ID, User: v.user, Name: "Laptop", CredentialHash: []byte(id), Credential: []byte("{}"), CreatedAt: v.f.time(),
	}
}

func (v *victim) identity() claviger.Identity {
	return claviger.Identity{Organization: v.org.ID, Issuer: victimsIssuer, Subject: string(v.user)}
}

// proofMethods are those of [scopedMethods] that concern passkeys and single sign-on.
var proofMethods = map[string]scopedMethod{
	"DB.Passkeys": {true, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return seen(f.Passkeys(ctx, s, v.user))
	}},
	"Tx.CreatePasskey": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.CreatePasskey(ctx, s, v.passkey("pk_new")))
	}},
	"Tx.UpdatePasskey": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.UpdatePasskey(ctx, s, claviger.PasskeyID(v.user), func(p claviger.Passkey) (claviger.Passkey, error) { return p, nil }))
	}},
	"Tx.DeletePasskey": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.DeletePasskey(ctx, s, v.user, claviger.PasskeyID(v.user)))
	}},
	"Tx.DeletePasskeys": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		n, err := tx.DeletePasskeys(ctx, s, v.user)
		return int(n), err
	}},
	"DB.SingleSignOn": {true, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		_, _, err := f.SingleSignOn(ctx, s)
		return hit(err)
	}},
	"Tx.PutSingleSignOn": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		x, err := tx.PutSingleSignOn(ctx, s, func(next claviger.SingleSignOn, sealed claviger.Sealed) (claviger.SingleSignOn, claviger.Sealed, error) {
			return next, sealed, nil
		})
		return int(x.Version) - 1, err // version 1 is of one's own provider
	}},
	"Tx.DeleteSingleSignOn": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		_, err := tx.DeleteSingleSignOn(ctx, s)
		return hit(err)
	}},
	"Tx.HoldSingleSignOn": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit1(tx.HoldSingleSignOn(ctx, s))
	}},
	"Tx.PersonOf": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit1(tx.PersonOf(ctx, s, victimsIssuer, string(v.user)))
	}},
	"DB.Linked": {true, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		linked, err := f.Linked(ctx, s, v.user)
		if !linked {
			return 0, err
		}
		return 1, err
	}},
	"Tx.Namesake": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		u, _, err := tx.Namesake(ctx, s, "a@example.com")
		if err == nil && u.ID != v.user {
			return 0, nil // one's own person of that address
		}
		return hit(err)
	}},
	"Tx.LinkIdentity": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		x := v.identity()
		x.Issuer = "https://other.example.com"
		err := tx.UnlinkIdentity(ctx, s, v.user)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return 0, err
		}
		return hit(tx.LinkIdentity(ctx, s, v.user, x))
	}},
	"Tx.UnlinkIdentity": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.UnlinkIdentity(ctx, s, v.user))
	}},
}

func TestPasskeys(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		v := f.victim("a")
		made := v.passkey("pk_made")
		f.do(func(ctx context.Context, tx *store.Tx) error { return tx.CreatePasskey(ctx, v.scope, made) })
		same(t, made, ok(f.PasskeyByHash(t.Context(), []byte("pk_made")))(t))
		add := func(id string) error {
			return f.try("", func(ctx context.Context, tx *store.Tx) error { return tx.CreatePasskey(ctx, v.scope, v.passkey(id)) })
		}
		conflictOn(t, add(string(v.user)), "id", "credentialHash")
		for i := range store.MaxPasskeys - 2 {
			wants(t, add(fmt.Sprint("pk_", i)), nil)
		}
		conflictOn(t, add("pk_more"), "passkeys")
		f.do(func(ctx context.Context, tx *store.Tx) error {
			return tx.UpdatePasskey(ctx, v.scope, "pk_0", func(p claviger.Passkey) (claviger.Passkey, error) {
				p.LastUsedAt, p.Cloned, p.User, p.CredentialHash = f.time(), true, "usr_other", []byte("other")
				return p, nil
			})
		})
		if p := ok(f.PasskeyByHash(t.Context(), []byte("pk_0")))(t); !p.Cloned || !p.LastUsedAt.Equal(f.time()) || p.User != v.user {
			t.Errorf("changed to %+v", p)
		}
		f.do(func(ctx context.Context, tx *store.Tx) error { return tx.DeletePasskey(ctx, v.scope, v.user, "pk_0") })
		if left := ok(f.Passkeys(t.Context(), v.scope, v.user))(t); len(left) != store.MaxPasskeys-1 {
			t.Errorf("%d are left", len(left))
		}
		f.do(func(ctx context.Context, tx *store.Tx) error { return tx.DeleteUser(ctx, v.scope, v.user) })
		_, err := f.PasskeyByHash(t.Context(), []byte(v.user))
		wants(t, err, store.ErrNotFound)
	})
}

// conflictOn wants a conflict on one of the fields.
func conflictOn(t *testing.T, err error, fields ...string) {
	t.Helper()
	var c *store.Conflict
	if !errors.As(err, &c) {
		t.Fatalf("%v, want a conflict on %v", err, fields)
	}
	for _, field := range fields {
		if c.Field == field {
			return
		}
	}
	t.Errorf("a conflict on %q, want one on %v", c.Field, fields)
}

func TestCeremonies_AreTakenOnceAndSoon(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		begun := claviger.Ceremony{Hash: []byte("cookie"), Kind: "passkey", Body: `{"a":1}`, ExpiresAt: f.time().Add(time.Minute)}
		f.do(func(ctx context.Context, tx *store.Tx) error { return tx.CreateCeremony(ctx, begun) })
		take := func(kind string, at time.Time) (c claviger.Ceremony, err error) {
			return c, f.try("", func(ctx context.Context, tx *store.Tx) error {
				c, err = tx.TakeCeremony(ctx, begun.Hash, kind, at)
				return err
			})
		}
		_, err := take("single-sign-on", f.time())
		wants(t, err, store.ErrNotFound)
		_, err = take("passkey", begun.ExpiresAt)
		wants(t, err, store.ErrNotFound)
		same(t, begun, ok(take("passkey", f.time()))(t))
		_, err = take("passkey", f.time())
		wants(t, err, store.ErrNotFound)
		f.do(func(ctx context.Context, tx *store.Tx) error { return tx.CreateCeremony(ctx, begun) })
		f.do(func(ctx context.Context, tx *store.Tx) error {
			n, err := tx.PurgeExpired(ctx, begun.ExpiresAt.Add(48*time.Hour))
			if n == 0 {
				t.Error("an old ceremony stays for ever")
			}
			return err
		})
	})
}

func TestSingleSignOn(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		v := f.victim("a")
		session := func(id, proof string) {
			f.do(func(ctx context.Context, tx *store.Tx) error {
				return tx.CreateSession(ctx, v.scope, claviger.Session{
					ID: claviger.SessionID(id), Organization: v.org.ID, User: v.user, TokenHash: []byte(id), Proof: proof, ExpiresAt: f.time().Add(time.Hour),
				})
			})
		}
		put := func(issuer string) (x claviger.SingleSignOn) {
			f.do(func(ctx context.Context, tx *store.Tx) (err error) {
				x, err = tx.PutSingleSignOn(ctx, v.scope, func(next claviger.SingleSignOn, sealed claviger.Sealed) (claviger.SingleSignOn, claviger.Sealed, error) {
					next.Issuer = issuer
					return next, sealed, nil
				})
				return err
			})
			return x
		}
		kept, sealed, err := f.SingleSignOn(t.Context(), v.scope)
		if err != nil || kept.Issuer != victimsIssuer || kept.Version != 1 || string(sealed) != "sealed" || len(kept.AllowedDomains) != 1 {
			t.Fatalf("kept %+v, %q, %v", kept, sealed, err)
		}
		session("ses_sso", claviger.ProofSingleSignOn)
		session("ses_password", "password")
		put(victimsIssuer)
		if linked := ok(f.Linked(t.Context(), v.scope, v.user))(t); !linked {
			t.Error("a change of something else forgot who people are")
		}
		put("https://other.example.com")
		if linked := ok(f.Linked(t.Context(), v.scope, v.user))(t); linked {
			t.Error("another provider knows the people of the one before")
		}
		_, err = f.SessionByHash(t.Context(), []byte("ses_sso"))
		wants(t, err, store.ErrNotFound)
		ok(f.SessionByHash(t.Context(), []byte("ses_password")))(t)

		session("ses_sso2", claviger.ProofSingleSignOn)
		f.do(func(ctx context.Context, tx *store.Tx) error {
			ended, err := tx.DeleteSingleSignOn(ctx, v.scope)
			if ended != 1 {
				t.Errorf("%d sessions ended, want 1", ended)
			}
			return err
		})
		_, _, err = f.SingleSignOn(t.Context(), v.scope)
		wants(t, err, store.ErrNotFound)
		wants(t, f.try("", func(ctx context.Context, tx *store.Tx) error { _, err := tx.HoldSingleSignOn(ctx, v.scope); return err }), store.ErrNotFound)
		wants(t, f.try("", func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.DeleteSingleSignOn(ctx, v.scope)
			return err
		}), store.ErrNotFound)
		if x := put(victimsIssuer); x.Version != 4 {
			t.Errorf("the number of a removed provider came back: %d", x.Version)
		}
	})
}

// One subject is one person, and one person one subject.
func TestIdentities(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		v := f.victim("a")
		other := claviger.User{ID: claviger.UserID(f.id(claviger.PrefixUser)), Organization: v.org.ID, Email: "other@example.com", Role: claviger.RoleViewer}
		f.do(func(ctx context.Context, tx *store.Tx) error { return tx.CreateUser(ctx, v.scope, other) })
		link := func(user claviger.UserID, subject string) error {
			x := v.identity()
			x.Subject = subject
			return f.try("", func(ctx context.Context, tx *store.Tx) error { return tx.LinkIdentity(ctx, v.scope, user, x) })
		}
		conflictOn(t, link(other.ID, string(v.user)), "id", "subject")
		conflictOn(t, link(v.user, "another subject"), "userId")
		namesake := func(email string) (u claviger.User, settled bool) {
			f.do(func(ctx context.Context, tx *store.Tx) (err error) {
				u, settled, err = tx.Namesake(ctx, v.scope, email)
				return err
			})
			return u, settled
		}
		if u, settled := namesake("other@example.com"); u.ID != other.ID || settled {
			t.Errorf("an invited person: %s, settled %t", u.ID, settled)
		}
		wants(t, link(other.ID, "other"), nil)
		if _, settled := namesake("other@example.com"); !settled {
			t.Error("a person with an identity counts as invited")
		}
		f.do(func(ctx context.Context, tx *store.Tx) error { return tx.UnlinkIdentity(ctx, v.scope, other.ID) })
		if _, settled := namesake("a@example.com"); !settled {
			t.Error("a person with a password counts as invited")
		}
	})
}
