package vault_test

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"claviger"
	"claviger/clavigertest/oauthserver"
	"claviger/internal/gate"
	"claviger/internal/store"
)

func sqlite(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "vault.db") }

// strict is a vendor that ends a whole grant when a refresh token comes twice.
var strict = oauthserver.Policy{Rotates: true, RevokeFamily: true}

func (s *stand) sent() int { return len(s.server.Received("/token")) }

// dead checks that the connection is over, for the cause, and that nothing more is sent.
func (n *node) dead(id claviger.ConnectionID, cause string) {
	n.t.Helper()
	conn, _ := n.row(id)
	if conn.Status != claviger.StatusReauthorize || conn.LastError == nil || conn.LastError.Code != cause {
		n.t.Fatalf("status %s, %+v; want %s", conn.Status, conn.LastError, cause)
	}
	if !n.announced(claviger.EventConnectionReauthorize) {
		n.t.Error("nobody was told")
	}
	before := n.sent()
	if _, err := n.use(n.t.Context(), id); code(err) != "reauthorization_required" {
		n.t.Errorf("used again: %v", err)
	}
	if err := n.renew(n.t.Context(), conn); err != nil && code(err) != "reauthorization_required" {
		n.t.Errorf("renewed: %v", err)
	}
	n.settled(id)
	if n.sent() != before {
		n.t.Error("a dead token was sent again")
	}
}

func TestAbuse_077_InvalidGrantEndsTheConnection(t *testing.T) {
	for name, fault := range map[string]oauthserver.Fault{
		"400":        {Status: 400, Body: `{"error":"invalid_grant"}`},
		"401":        {Status: 401, Body: `{"error":"invalid_grant"}`},
		"200":        {Status: 200, Body: `{"error":"invalid_grant"}`},
		"nested":     {Status: 400, Body: `{"error":{"code":"invalid_grant"}}`},
		"Slack":      {Status: 200, Body: `{"ok":false,"error":"invalid_refresh_token"}`},
		"Salesforce": {Status: 400, Header: http.Header{"Content-Type": {"text/plain"}}, Body: `error=invalid_grant`},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, sqlite(t), strict, 1, nil)
			id, _ := s.connect(time.Hour)
			s.pass(2 * time.Hour)
			fault.Skip = true
			s.server.Next(fault)
			if _, err := s.nodes[0].use(t.Context(), id); code(err) != "reauthorization_required" || !claviger.IsKind(err, claviger.KindReauthorize) {
				t.Fatalf("%v", err)
			}
			s.nodes[0].dead(id, "invalid_grant")
		})
	}
}

// Somebody connects again while the dead token is on its way: the new tokens win.
func TestAbuse_077_InvalidGrantOfReplacedTokens(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		s := newStand(t, url, strict, 1, nil)
		id, _ := s.connect(time.Hour)
		n := s.nodes[0]
		s.pass(2 * time.Hour)
		reached, hold := make(chan struct{}, 1), make(chan struct{})
		s.server.Next(oauthserver.Fault{Skip: true, Reached: reached, Hold: hold, Status: 400, Body: `{"error":"invalid_grant"}`})
		got := make(chan string)
		go func() {
			token, err := n.use(t.Context(), id)
			if err != nil {
				t.Errorf("who waited: %v", err)
			}
			got <- token
		}()
		<-reached
		n.reconnect(id, "at_reconnected")
		close(hold)
		if token := <-got; token != "at_reconnected" {
			t.Errorf("who waited got %q", token)
		}
		if conn, _ := n.row(id); conn.Status != claviger.StatusActive || s.sent() != 1 {
			t.Errorf("status %s after %d requests", conn.Status, s.sent())
		}
	})
}

// reconnect stores new tokens, as the end of a connect flow does.
func (n *node) reconnect(id claviger.ConnectionID, access string) {
	n.t.Helper()
	resource := claviger.Resource{Type: "connection", ID: string(id), Connection: id, Organization: n.caller.Scope.Organization(), Workspace: n.ws}
	err := n.gate.Change(n.t.Context(), n.caller, claviger.ConnectionsUpdate, resource, func(tx *store.Tx, ticket *gate.Ticket) error {
		var grant store.Grant
		_, err := tx.UpdateConnection(n.t.Context(), n.caller.Scope, id, func(c claviger.Connection, _ claviger.Sealed) (claviger.Connection, claviger.Sealed, error) {
			var creds claviger.Credentials
			creds, grant = n.vault.Issued(&c, n.method.OAuth, claviger.Tokens{
				Access: claviger.NewSecretString(access), Refresh: claviger.NewSecretString(n.server.Grant("contacts.read")), Type: "Bearer",
				IssuedAt: n.now(), ExpiresAt: n.now().Add(time.Hour),
			}, nil, nil)
			c.Revision++
			sealed, err := n.vault.Seal(n.t.Context(), ticket, &c, creds)
			return c, sealed, err
		})
		if err != nil {
			return err
		}
		return tx.PutGrant(n.t.Context(), n.caller.Scope, grant)
	})
	if err != nil {
		n.t.Error(err)
	}
}

// What says nothing about the token: it is asked again later, the old access token is
// used as long as it lives, and nobody is asked to connect again.
func TestAbuse_079_FailuresThatPass(t *testing.T) {
	page := http.Header{"Content-Type": {"text/html"}}
	for name, c := range map[string]struct {
		fault oauthserver.Fault
		code  string
	}{
		"429 in seconds":   {oauthserver.Fault{Status: 429, Header: http.Header{"Retry-After": {"60"}}, Body: `{}`}, "upstream_rate_limited"},
		"429 in 30 years":  {oauthserver.Fault{Status: 429, Header: http.Header{"Retry-After": {"1000000000"}}, Body: `{}`}, "upstream_rate_limited"},
		"429 in the past":  {oauthserver.Fault{Status: 429, Header: http.Header{"Retry-After": {"-5"}}, Body: `{}`}, "upstream_rate_limited"},
		"503":              {oauthserver.Fault{Status: 503, Body: `{"error":"invalid_grant"}`}, "upstream_unavailable"},
		"a page of errors": {oauthserver.Fault{Status: 502, Header: page, Body: "<html>bad gateway</html>"}, "upstream_unavailable"},
		"a login page":     {oauthserver.Fault{Status: 200, Header: page, Body: "<html>invalid_grant</html>"}, "upstream_unavailable"},
		"a redirect":       {oauthserver.Fault{Status: 307, Header: http.Header{"Location": {"https://elsewhere.example/token"}}}, "upstream_unavailable"},
		"invalid_client":   {oauthserver.Fault{Status: 401, Body: `{"error":"invalid_client"}`}, "oauth_client_refused"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, sqlite(t), strict, 1, nil)
			id, refresh := s.connect(time.Hour)
			n := s.nodes[0]
			s.pass(55 * time.Minute)
			c.fault.Skip = true
			s.server.Next(c.fault)
			for range 3 {
				if token := n.must(id); token != "at_first" {
					t.Fatalf("while it lives: %q", token)
				}
				n.settled(id)
			}
			g := n.grant(id)
			if s.sent() != 1 || g.Failures != 1 || g.Cause != c.code || g.State != store.GrantIdle {
				t.Fatalf("%d requests, %+v", s.sent(), g)
			}
			if wait := g.RetryAt.Sub(s.now()); wait <= 0 || wait > 15*time.Minute {
				t.Errorf("asked again in %s", wait)
			}
			if !n.announced(claviger.EventConnectionRefreshFailed) || n.announced(claviger.EventConnectionReauthorize) {
				t.Errorf("events: %v", s.events)
			}
			if !s.server.Alive(refresh) {
				t.Fatal("the vendor's token is gone")
			}
			s.pass(16 * time.Minute)
			if token := n.must(id); token == "at_first" || s.sent() != 2 {
				t.Errorf("afterwards %q after %d requests", token, s.sent())
			}
			if conn, _ := n.row(id); conn.Status != claviger.StatusActive {
				t.Errorf("status %s", conn.Status)
			}
		})
	}
}

// The refusal of a client is about its registration, not about the connections.
func TestAbuse_078_InvalidClientKillsNoConnection(t *testing.T) {
	for _, word := range []string{"invalid_client", "unauthorized_client", "unsupported_grant_type"} {
		s := newStand(t, sqlite(t), strict, 1, nil)
		id, _ := s.connect(time.Hour)
		n := s.nodes[0]
		s.pass(2 * time.Hour)
		s.server.Next(oauthserver.Fault{Skip: true, Status: 400, Body: `{"error":"` + word + `"}`})
		for range 2 { // the second time it is remembered
			_, err := n.use(t.Context(), id)
			if e := claviger.AsError(err); e.FineCode() != "oauth_client_refused" || e.Kind != claviger.KindUpstream || e.RetryAfter == 0 {
				t.Errorf("%s: %v", word, err)
			}
		}
		if conn, _ := n.row(id); conn.Status != claviger.StatusActive || s.sent() != 1 {
			t.Errorf("%s: status %s after %d requests", word, conn.Status, s.sent())
		}
	}
}

func TestNotSentIsTriedAgain(t *testing.T) {
	s := newStand(t, sqlite(t), strict, 1, nil)
	id, _ := s.connect(time.Hour)
	n := s.nodes[0]
	s.pass(2 * time.Hour)
	s.server.RefuseConnections(100)
	if _, err := n.use(t.Context(), id); err == nil {
		t.Fatal("a token out of nowhere")
	}
	if g := n.grant(id); g.State != store.GrantIdle || g.Failures != 1 || g.Sends != 0 {
		t.Fatalf("%+v", g)
	}
	s.server.RefuseConnections(0)
	s.pass(time.Minute)
	if token := n.must(id); token == "at_first" || s.sent() != 1 {
		t.Errorf("%q after %d requests", token, s.sent())
	}
}

// An answer that is lost after the token was sent: never sent again at a strict vendor.
func TestAbuse_076_LostAnswerOfAStrictVendor(t *testing.T) {
	for name, fault := range map[string]oauthserver.Fault{
		"reset": {Reset: true}, "cut": {Cut: 10}, "truncated": {Body: `{"access_token":"at_x","refr`}, "gzip with a bad sum": {BadCRC: true},
		"no token in it": {Body: `{}`},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, sqlite(t), strict, 1, nil)
			id, _ := s.connect(time.Hour)
			n := s.nodes[0]
			s.pass(55 * time.Minute)
			s.server.Next(fault)
			for range 3 {
				if token := n.must(id); token != "at_first" {
					t.Fatalf("while it lives: %q", token)
				}
				n.settled(id)
			}
			conn, _ := n.row(id)
			if g := n.grant(id); g.State != store.GrantUncertain || conn.Status != claviger.StatusActive || conn.LastError.Code != "refresh_uncertain" {
				t.Fatalf("%+v, %+v", g, conn.LastError)
			}
			s.pass(10 * time.Minute)
			if _, err := n.use(t.Context(), id); code(err) != "reauthorization_required" {
				t.Fatalf("%v", err)
			}
			n.dead(id, "refresh_uncertain")
			if _, reuses := s.server.Refreshed(); s.sent() != 1 || reuses != 0 {
				t.Errorf("%d requests, %d reuses", s.sent(), reuses)
			}
		})
	}
}

// The old access token is tried, and the vendor refuses it too.
func TestUncertainAndRefused(t *testing.T) {
	s := newStand(t, sqlite(t), strict, 1, nil)
	id, _ := s.connect(time.Hour)
	n := s.nodes[0]
	s.pass(55 * time.Minute)
	s.server.Next(oauthserver.Fault{Reset: true})
	n.must(id)
	n.settled(id)
	conn, _ := n.row(id)
	if err := n.renew(t.Context(), conn); code(err) != "reauthorization_required" {
		t.Fatalf("%v", err)
	}
	n.dead(id, "refresh_uncertain")
}

func TestAbuse_076_LostAnswerOfAVendorWithGrace(t *testing.T) {
	for name, c := range map[string]struct {
		policy oauthserver.Policy
		change func(*claviger.OAuth)
	}{
		"grace":       {oauthserver.Policy{Rotates: true, RevokeFamily: true, Grace: 30 * time.Second}, nil},
		"idempotent":  {oauthserver.Policy{Rotates: true, Grace: time.Hour}, func(o *claviger.OAuth) { o.Refresh.Grace, o.Refresh.Idempotent = 0, true }},
		"no rotation": {oauthserver.Policy{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, sqlite(t), c.policy, 1, c.change)
			id, _ := s.connect(time.Hour)
			n := s.nodes[0]
			s.pass(2 * time.Hour)
			s.server.Next(oauthserver.Fault{Reset: true})
			if token := n.must(id); token == "at_first" || s.sent() != 2 {
				t.Fatalf("%q after %d requests", token, s.sent())
			}
			s.pass(2 * time.Hour) // and once only
			s.server.Next(oauthserver.Fault{Reset: true}, oauthserver.Fault{Reset: true})
			if _, err := n.use(t.Context(), id); code(err) != "reauthorization_required" || s.sent() != 4 {
				t.Errorf("%v after %d requests", err, s.sent())
			}
			n.dead(id, "refresh_uncertain")
		})
	}
}

func TestAbuse_083_Lifetimes(t *testing.T) {
	hour := func(c claviger.Connection, now time.Time) bool {
		d := c.ExpiresAt.Sub(now)
		return d > 59*time.Minute && d <= time.Hour
	}
	unknown := func(c claviger.Connection, _ time.Time) bool {
		return c.ExpiresAt.IsZero() && c.RefreshAt.Year() == 9999
	}
	for name, c := range map[string]struct {
		expires any
		holds   func(claviger.Connection, time.Time) bool
	}{
		"a number": {3600, hour}, "a text": {"3600", hour}, "a fraction": {3600.7, func(c claviger.Connection, now time.Time) bool { return hour(c, now.Add(time.Second)) }},
		"missing": {nil, unknown}, "nothing": {0, unknown}, "negative": {-1, unknown},
		"absurd":      {1e12, func(c claviger.Connection, now time.Time) bool { return c.ExpiresAt.Before(now.AddDate(11, 0, 0)) }},
		"beyond":      {"9223372036854775808", func(c claviger.Connection, now time.Time) bool { return c.ExpiresAt.Before(now.AddDate(11, 0, 0)) }},
		"two minutes": {120, func(c claviger.Connection, _ time.Time) bool { return c.ExpiresAt.Sub(c.RefreshAt) == time.Minute }},
		"one minute":  {60, func(c claviger.Connection, _ time.Time) bool { return c.ExpiresAt.Sub(c.RefreshAt) == 30*time.Second }},
		"ten hours":   {36000, func(c claviger.Connection, _ time.Time) bool { return c.ExpiresAt.Sub(c.RefreshAt) == time.Hour }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, sqlite(t), strict, 1, nil)
			id, _ := s.connect(time.Hour)
			n := s.nodes[0]
			s.pass(2 * time.Hour)
			s.server.Next(oauthserver.Fault{Change: map[string]any{"expires_in": c.expires}})
			for range 5 { // a token that is said to be over is not asked for again and again
				n.must(id)
			}
			if conn, _ := n.row(id); !c.holds(conn, s.now()) || s.sent() != 1 {
				t.Errorf("expires %s, due %s, %d requests", conn.ExpiresAt, conn.RefreshAt, s.sent())
			}
		})
	}
}

// Whatever the row says, a refresh token that the vendor has refused is not sent again.
func TestAbuse_077_TheDeadTokenStaysDead(t *testing.T) {
	s := newStand(t, sqlite(t), strict, 1, nil)
	id, _ := s.connect(time.Hour)
	n := s.nodes[0]
	s.server.RevokeAll()
	s.pass(2 * time.Hour)
	for range 3 {
		if _, err := n.use(t.Context(), id); code(err) != "reauthorization_required" {
			t.Fatalf("%v", err)
		}
		if conn, _ := n.row(id); conn.Status != claviger.StatusReauthorize || conn.LastError.Code != "invalid_grant" {
			t.Errorf("%s, %+v", conn.Status, conn.LastError)
		}
		n.change(id, func(c *claviger.Connection) { c.Status = claviger.StatusActive })
	}
	if s.sent() != 1 {
		t.Errorf("%d requests", s.sent())
	}
}

func TestAbuse_084_TheOldRefreshTokenStays(t *testing.T) {
	for name, value := range map[string]any{"missing": nil, "empty": ""} {
		s := newStand(t, sqlite(t), oauthserver.Policy{}, 1, nil)
		id, refresh := s.connect(time.Hour)
		n := s.nodes[0]
		for range 2 {
			s.pass(2 * time.Hour)
			s.server.Next(oauthserver.Fault{Change: map[string]any{"refresh_token": value}})
			n.must(id)
		}
		requests := s.server.Received("/token")
		if len(requests) != 2 || requests[1].Form.Get("refresh_token") != refresh || n.grant(id).Rotates {
			t.Errorf("%s: %d requests, the last with another token", name, len(requests))
		}
	}
}

func TestNarrowerScopesAreRecorded(t *testing.T) {
	s := newStand(t, sqlite(t), oauthserver.Policy{Rotates: true, NarrowTo: []string{"contacts.read"}}, 1, nil)
	s.method.Permissions = &claviger.PermissionProbe{From: "token", Required: []string{"contacts.write"}}
	id, _ := s.connect(time.Hour)
	n := s.nodes[0]
	s.pass(2 * time.Hour)
	n.must(id)
	conn, _ := n.row(id)
	if len(conn.GrantedScopes) != 1 || conn.Health != claviger.HealthUnhealthy || conn.LastError.Code != "insufficient_scope" || !n.announced(claviger.EventConnectionUpdated) {
		t.Errorf("%v, %s, %+v, %v", conn.GrantedScopes, conn.Health, conn.LastError, s.events)
	}
	if g := n.grant(id); len(g.RequestedScopes) != 2 {
		t.Errorf("asked for: %v", g.RequestedScopes)
	}
}
