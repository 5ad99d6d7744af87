package store_test

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"claviger"
	"claviger/internal/store"
)

// signsIn gives the victim's person a way to sign in, a link and a session, which are
// known by the person's id.
func (v *victim) signsIn() {
	v.f.t.Helper()
	v.f.do(func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(
			tx.PutSignIn(ctx, v.scope, v.user, func(claviger.SignIn) (claviger.SignIn, error) { return claviger.SignIn{Password: "hash"}, nil }),
			tx.CreateSetupLink(ctx, v.scope, claviger.SetupLink{Hash: []byte(v.user), Organization: v.org.ID, User: v.user, ExpiresAt: v.f.time().Add(time.Hour)}),
			tx.CreateSession(ctx, v.scope, claviger.Session{
				ID: claviger.SessionID(v.user), Organization: v.org.ID, User: v.user, TokenHash: []byte(v.user), ExpiresAt: v.f.time().Add(time.Hour),
			}))
	})
}

// scopedMethod is a method that takes a scope, as [scopedMethods] tries it.
type scopedMethod struct {
	organizationWide bool
	call             attempt
}

func joined(all ...map[string]scopedMethod) map[string]scopedMethod {
	out := map[string]scopedMethod{}
	for _, m := range all {
		maps.Copy(out, m)
	}
	return out
}

// signInMethods are those of [scopedMethods] that concern how people sign in.
var signInMethods = map[string]scopedMethod{
	"DB.Sessions": {true, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return seen(f.Sessions(ctx, s, v.user))
	}},
	"Tx.PutSignIn": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.PutSignIn(ctx, s, v.user, func(old claviger.SignIn) (claviger.SignIn, error) { return old, nil }))
	}},
	"Tx.CreateSetupLink": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.CreateSetupLink(ctx, s, claviger.SetupLink{Hash: []byte("x"), Organization: v.org.ID, User: v.user}))
	}},
	"Tx.TakeSetupLink": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.TakeSetupLink(ctx, s, []byte(v.user)))
	}},
	"Tx.CreateSession": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.CreateSession(ctx, s, claviger.Session{ID: "ses_x", Organization: v.org.ID, User: v.user, TokenHash: []byte("x")}))
	}},
	"Tx.SeeSession": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.SeeSession(ctx, s, claviger.SessionID(v.user), f.time()))
	}},
	"Tx.EndSession": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.EndSession(ctx, s, v.user, claviger.SessionID(v.user)))
	}},
	"Tx.EndSessions": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		n, err := tx.EndSessions(ctx, s, v.user)
		return int(n), err
	}},
}

func TestSignIns(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		v := f.victim("a")
		found := ok(f.Candidates(t.Context(), "a@example.com"))(t)
		if len(found) != 1 || found[0].User.ID != v.user || found[0].SignIn.Password != "hash" || found[0].SignIn.User != v.user {
			t.Fatalf("found %+v", found)
		}
		same(t, found[0], ok(f.CandidateByID(t.Context(), v.user))(t))
		f.do(func(ctx context.Context, tx *store.Tx) error {
			return tx.PutSignIn(ctx, v.scope, v.user, func(old claviger.SignIn) (claviger.SignIn, error) {
				old.Step, old.Recovery = 7, [][]byte{[]byte("r")}
				return old, nil
			})
		})
		if now := ok(f.CandidateByID(t.Context(), v.user))(t).SignIn; now.Password != "hash" || now.Step != 7 || len(now.Recovery) != 1 {
			t.Errorf("changed to %+v", now)
		}
		stop := errors.New("stop")
		wants(t, f.try("", func(ctx context.Context, tx *store.Tx) error {
			return tx.PutSignIn(ctx, v.scope, v.user, func(old claviger.SignIn) (claviger.SignIn, error) { return old, stop })
		}), stop)
		f.do(func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.UpdateUser(ctx, v.scope, v.user, func(u claviger.User) (claviger.User, error) { u.Disabled = true; return u, nil })
			return err
		})
		if left := ok(f.Candidates(t.Context(), "a@example.com"))(t); len(left) != 0 {
			t.Errorf("a disabled person may sign in: %+v", left)
		}
	})
}

func TestSetupLinks_AreTakenOnce(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		v := f.victim("a")
		take := func() error {
			return f.try("", func(ctx context.Context, tx *store.Tx) error { return tx.TakeSetupLink(ctx, v.scope, []byte(v.user)) })
		}
		if l := ok(f.SetupLinkByHash(t.Context(), []byte(v.user)))(t); l.User != v.user || l.Organization != v.org.ID {
			t.Errorf("the link is %+v", l)
		}
		wants(t, take(), nil)
		wants(t, take(), store.ErrNotFound)
		for _, hash := range []string{"first", "second"} { // the second takes the first one's place
			f.do(func(ctx context.Context, tx *store.Tx) error {
				return tx.CreateSetupLink(ctx, v.scope, claviger.SetupLink{Hash: []byte(hash), Organization: v.org.ID, User: v.user})
			})
		}
		_, err := f.SetupLinkByHash(t.Context(), []byte("first"))
		wants(t, err, store.ErrNotFound)
	})
}

func TestSessions(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		v := f.victim("a")
		for i := range 51 {
			s := claviger.Session{
				ID: claviger.SessionID(f.id(claviger.PrefixSession)), Organization: v.org.ID, User: v.user, Stage: claviger.SessionProven, TokenHash: []byte{byte(i)},
				Proof: "password", Agent: "Firefox", CreatedAt: f.time(), SeenAt: f.time(), ExpiresAt: f.time().Add(time.Hour),
			}
			f.do(func(ctx context.Context, tx *store.Tx) error { return tx.CreateSession(ctx, v.scope, s) })
			if i == 50 {
				same(t, s, ok(f.SessionByHash(t.Context(), []byte{50}))(t))
			}
		}
		all := ok(f.Sessions(t.Context(), v.scope, v.user))(t)
		if len(all) != 50 {
			t.Fatalf("%d sessions are kept, want 50", len(all))
		}
		f.do(func(ctx context.Context, tx *store.Tx) error {
			return errors.Join(tx.SeeSession(ctx, v.scope, all[0].ID, f.time().Add(time.Minute)), tx.EndSession(ctx, v.scope, v.user, all[1].ID))
		})
		now := ok(f.Sessions(t.Context(), v.scope, v.user))(t)
		if len(now) != 49 || !now[0].SeenAt.Equal(f.time().Add(time.Minute)) {
			t.Errorf("%d sessions, the newest seen at %v", len(now), now[0].SeenAt)
		}
		// Who is removed takes everything along.
		f.do(func(ctx context.Context, tx *store.Tx) error { return tx.DeleteUser(ctx, v.scope, v.user) })
		_, err := f.SessionByHash(t.Context(), all[0].TokenHash)
		wants(t, err, store.ErrNotFound)
		_, err = f.SetupLinkByHash(t.Context(), []byte(v.user))
		wants(t, err, store.ErrNotFound)
		_, err = f.CandidateByID(t.Context(), v.user)
		wants(t, err, store.ErrNotFound)
	})
}
