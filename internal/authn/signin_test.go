package authn

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"claviger"
)

// TestFactorCode has the values of RFC 6238, appendix B, for SHA-1, of which an app shows
// the last six digits.
func TestFactorCode(t *testing.T) {
	secret := []byte("12345678901234567890")
	for at, want := range map[int64]string{59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130"} {
		now := time.Unix(at, 0)
		if got := factorCode(secret, at/30); got != want {
			t.Errorf("at %d the code is %s, want %s", at, got, want)
		}
		step, ok := factorFits(secret, want[:3]+" "+want[3:], 0, now)
		if !ok || step != at/30 {
			t.Errorf("at %d the code does not fit", at)
		}
		for name, when := range map[string]time.Time{"a step late": now.Add(factorStep), "a step early": now.Add(-factorStep)} {
			if _, ok := factorFits(secret, want, 0, when); !ok {
				t.Errorf("%s it does not fit", name)
			}
		}
		for name, when := range map[string]time.Time{"two steps late": now.Add(2 * factorStep), "two steps early": now.Add(-2 * factorStep)} {
			if when.Unix() < 0 {
				continue // there was no such time
			}
			if _, ok := factorFits(secret, want, 0, when); ok {
				t.Errorf("%s it still fits", name)
			}
		}
		if _, ok := factorFits(secret, want, step, now); ok {
			t.Errorf("at %d a code fits twice", at)
		}
	}
}

func TestPasswords(t *testing.T) {
	right := claviger.NewSecretString("Ångström units of length")
	kept, err := hashPassword(right, rand.Reader)
	if err != nil || !strings.HasPrefix(kept, "$argon2id$v=19$m=65536,t=3,p=4$") {
		t.Fatalf("kept as %q, %v", kept, err)
	}
	again, err := hashPassword(right, rand.Reader)
	if err != nil || again == kept {
		t.Error("two hashes of one password are the same")
	}
	if !passwordFits(right, kept) || !passwordFits(claviger.NewSecretString("A\u030angstro\u0308m units of length"), kept) {
		t.Error("the password does not fit, however its letters were typed")
	}
	parts := strings.Split(kept, "$")
	for name, c := range map[string][2]string{
		"another password": {"angstrom units of length", kept}, "none": {"", kept}, "no hash": {"Ångström units of length", ""},
		"too much memory": {"Ångström units of length", strings.Replace(kept, "m=65536", "m=4294967295", 1)}, "too many passes": {"Ångström units of length", strings.Replace(kept, "t=3", "t=4000000", 1)},
		"an empty sum": {"Ångström units of length", strings.Join(append(parts[:5:5], ""), "$")}, "no lanes": {"Ångström units of length", strings.Replace(kept, "p=4", "p=0", 1)},
	} {
		if passwordFits(claviger.NewSecretString(c[0]), c[1]) {
			t.Errorf("%s fits", name)
		}
	}
	for password, good := range map[string]bool{
		"analytical engines weave": true, "eleven char": false, "aaaaaaaaaaaabbbb": false, "ada@example.com12": false, "Lovelace1234": false, strings.Repeat("words ", 60): false,
		"\xff\xfe not a text at all": false, "ääääääääööööüüßß": false, "пароль из пяти слов": true,
	} {
		if err := checkPassword(claviger.NewSecretString(password), "Lovelace", "ada@example.com"); (err == nil) != good {
			t.Errorf("%q: %v", password, err)
		}
	}
}

// TestAbuse_291_HashingTakesTurns: whatever is asked, one password is hashed at a time, few
// wait, and the rest are sent away before anything is computed.
func TestAbuse_291_HashingTakesTurns(t *testing.T) {
	h := newHashing()
	if err := h.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, hashWaiters)
	for range hashWaiters {
		go func() { ended <- h.enter(ctx) }()
	}
	for len(h.waiting) < hashWaiters { // each of them adds itself once
		select {
		case err := <-ended:
			t.Fatalf("one got a turn while another had it: %v", err)
		default:
		}
	}
	var e *claviger.Error
	if err := h.enter(t.Context()); !errors.As(err, &e) || e.Code != "busy" || e.RetryAfter == 0 {
		t.Errorf("one too many: %v", err)
	}
	cancel()
	for range hashWaiters {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("who left: %v", err)
		}
	}
	h.leave()
	if err := h.enter(t.Context()); err != nil {
		t.Errorf("after all that: %v", err)
	}
	h.leave()
	// What has no chance costs no hash: an authority without a database is asked.
	a := &Authority{ledger: &book{}, failures: newThrottle(5, 50, time.Now), now: time.Now}
	for _, email := range []string{"", strings.Repeat("a", 300) + "@example.com"} {
		if _, err := a.SignIn(t.Context(), email, claviger.NewSecretString("x"), Visit{From: here}); !claviger.IsKind(err, claviger.KindUnauthenticated) {
			t.Errorf("%q: %v", email, err)
		}
	}
}

func TestSignIn_IsWrittenDown(t *testing.T) {
	e := start(t)
	v := Visit{From: here, Agent: "Browser/1\r\nX: y"}
	in, err := e.SetUp(t.Context(), text(e.first.OwnerLink), Chosen{Name: "Ada", Email: " Ada@Example.com ", Password: claviger.NewSecretString("analytical engines weave")}, v)
	if err != nil || in.User.Email != "ada@example.com" || in.Session.Agent != "Browser/1X: y" {
		t.Fatalf("set up: %+v, %v", in, err)
	}
	if entry := e.ledger.last(t); entry.Verb != claviger.SessionsCreate || entry.ActorID != string(in.User.ID) || entry.ResourceID != string(in.Session.ID) {
		t.Errorf("written down: %+v", entry)
	}
	if _, err := e.SignIn(t.Context(), "ada@example.com", claviger.NewSecretString("wrong"), v); !claviger.IsKind(err, claviger.KindUnauthenticated) {
		t.Errorf("a wrong password: %v", err)
	}
	if entry := e.ledger.last(t); entry.Verb != claviger.AuthenticationFail || entry.Code != "wrong_password" || entry.ActorID != string(in.User.ID) || entry.ResourceType != "session" || entry.Organization != in.User.Organization {
		t.Errorf("written down: %+v", entry)
	}
	seated, err := e.AuthenticateSession(t.Context(), text(in.Token), here)
	if err != nil || !seated.Caller.May(claviger.SecretsWrite) || !seated.Caller.InstanceAdmin || seated.Caller.Kind != claviger.CallerSession {
		t.Fatalf("the caller is %+v, %v", seated.Caller, err)
	}
	if err := e.EndSession(t.Context(), seated, in.Session.ID); err != nil {
		t.Fatal(err)
	}
	if entry := e.ledger.last(t); entry.Verb != claviger.SessionsDelete {
		t.Errorf("written down: %+v", entry)
	}
	if _, err := e.AuthenticateSession(t.Context(), text(in.Token), here); !claviger.IsKind(err, claviger.KindUnauthenticated) {
		t.Errorf("after the end: %v", err)
	}
	for _, bad := range []string{"", "clv_session_", text(in.Token) + "0", "clv_key_" + strings.TrimPrefix(text(in.Token), sessionPrefix)} {
		if _, err := (&Authority{}).AuthenticateSession(t.Context(), bad, here); !claviger.IsKind(err, claviger.KindUnauthenticated) { // asks no database
			t.Errorf("%q: %v", bad, err)
		}
	}
}
