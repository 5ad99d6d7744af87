package clavigertest_test

import (
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/oauthserver"
	"claviger/clavigertest/postgres"
)

// left is what must be there after a crash at a mark.
type left struct {
	sent    int  // codes that the vendor was asked to redeem
	returns bool // the browser that comes back once more is let on
	kept    bool // tokens wait, and are revoked when nobody finishes
	finish  bool // the crash is in the finish, which goes on with the same code
	active  bool // the connection was stored already
}

// A process that dies while it redeems a code, or while the application finishes, leaves a
// connection that is whole or one that waits. No code is sent twice, and tokens that are
// known end at the vendor.
func TestAbuse_229_KilledWhileACodeIsRedeemed(t *testing.T) {
	program := clavigertest.Build(t, "failpoints")
	marks := map[string]left{
		"connect.claim.before":    {returns: true},
		"connect.claim.after":     {},
		"connect.exchange.before": {},
		"connect.exchange.after":  {sent: 1},
		"connect.keep.before":     {sent: 1},
		"connect.keep.after":      {sent: 1, kept: true},
		"connect.finish.before":   {sent: 1, finish: true},
		"connect.finish.inside":   {sent: 1, finish: true},
		"connect.finish.after":    {sent: 1, finish: true, active: true},
	}
	for _, mark := range failpoints(t, "connect.") {
		if _, ok := marks[mark]; !ok {
			t.Errorf("nothing is proven about the mark %s", mark)
		}
	}
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		for mark, want := range marks {
			t.Run(mark, func(t *testing.T) { redeemAndDie(t, program, engine, mark, want) })
		}
	})
}

func redeemAndDie(t *testing.T, program clavigertest.Program, engine clavigertest.Engine, mark string, want left) {
	c := &clock{at: time.Now()}
	x := &consent{t: t, vendor: oauthserver.Start(t, oauthserver.Policy{Rotates: true, Now: c.now})}
	const public = "http://127.0.0.1:39998" // one redirect URI for all processes
	o := clavigertest.Options{Data: filepath.Join(t.TempDir(), "data"), EgressAllow: "127.0.0.1", RootCAs: x.vendor.Roots(), PublicURL: public, Now: c.now}
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: x.vendor.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"CLAVIGER_DATA=" + o.Data, "CLAVIGER_EGRESS_ALLOW=127.0.0.1", "CLAVIGER_PUBLIC_URL=" + public, "SSL_CERT_FILE=" + roots, "CLAVIGER_FAILPOINT=" + mark}
	if engine == clavigertest.PostgreSQL {
		o.DatabaseURL = postgres.URL(t)
		env = append(env, "CLAVIGER_DATABASE_URL="+o.DatabaseURL)
	}
	child := program.Serve(t, env)
	if child == nil {
		t.Fatal("the server did not start")
	}
	x.Server = child.As(t)
	x.api = x.Server.Client(child.Key)
	x.connector("acme")
	conn, b := x.begin("mine"), x.browser()
	here := func(address string) string { return strings.Replace(address, public, x.URL, 1) }
	back := x.callback(b.leave(here(conn.AuthorizeURL)))
	code := ""
	if want.finish {
		code = shownCode(t, b.get(here(back)))
		_, _ = x.api.FinishConnection(t.Context(), conn.ID, code)
	} else {
		_, _ = b.try(here(back))
	}
	<-child.Ended()
	if n := x.exchanges(); n != want.sent {
		t.Errorf("the vendor was asked %d times", n)
	}

	x.Server = clavigertest.Start(t, o)
	x.Key, x.api = child.Key, x.Server.Client(child.Key)
	b.base = x.URL
	again := b.get(here(back))
	switch {
	case want.returns:
		code = shownCode(t, again)
	case again.Status != http.StatusBadRequest || !strings.Contains(again.Body, "state_used"):
		t.Errorf("coming back once more is answered %d: %s", again.Status, again.Body)
	}
	if n := x.exchanges(); n != max(want.sent, len(code)/9) {
		t.Errorf("the code was sent %d times", n)
	}
	switch {
	case want.active:
		_, err := x.api.FinishConnection(t.Context(), conn.ID, code)
		refused(t, err, 409, "nothing_to_finish")
		x.works(conn.ID)
	case code != "":
		if _, err := x.api.FinishConnection(t.Context(), conn.ID, code); err != nil {
			t.Fatal(err)
		}
		x.works(conn.ID)
	default:
		x.givesUp(c, conn.ID, want.kept)
	}
}

// givesUp lets the time of an attempt pass that nobody can finish, and connects again.
func (x *consent) givesUp(c *clock, id string, kept bool) {
	x.t.Helper()
	if now, err := x.api.Connection(x.t.Context(), id); err != nil || now.Status != "pending" || len(now.Credentials) != 0 {
		x.t.Errorf("after the crash it is %+v, %v", now, err)
	}
	x.later(c, 11*time.Minute)
	x.App.Sweep(x.t.Context())
	if now, err := x.api.Connection(x.t.Context(), id); err != nil || now.Status != "pending" || now.LastError == nil || now.LastError.Code != "flow_expired" {
		x.t.Errorf("when the time is over it is %+v, %v", now, err)
	}
	if kept {
		eventually(x.t, "its tokens are revoked", func() bool { return x.vendor.Live() == 0 && len(x.vendor.Received("/revoke")) == 2 })
	}
	s, b := x.session(api.CreateConnectSession{ConnectionID: id}), x.browser()
	back := x.callback(b.leave(b.choose(s)))
	p := b.get(back[strings.Index(back, "/oauth/"):])
	if _, err := x.api.FinishConnectSession(x.t.Context(), s.ID, shownCode(x.t, p)); err != nil {
		x.t.Fatal(err)
	}
	x.works(id)
}

// try is get for a server that may be dead before it answers.
func (b *browser) try(address string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	res, err := b.http.Do(req)
	if err == nil {
		err = res.Body.Close()
	}
	return res, err
}
