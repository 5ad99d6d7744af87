package clavigertest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/oauthserver"
	"claviger/client"
)

// entries counts the ledger.
func (x *consent) entries() int {
	x.t.Helper()
	all, err := client.Collect(x.api.Audit(x.t.Context(), client.AuditQuery{}), 0)
	if err != nil {
		x.t.Fatal(err)
	}
	return len(all)
}

// Each connection that is made or renewed is one event.
func TestConnect_OneEventEach(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	endpoint, err := x.api.CreateEventEndpoint(t.Context(), api.CreateEventEndpoint{
		URL: "https://events.invalid/", Events: []string{"connection.created", "connection.updated"},
	})
	if err != nil {
		t.Fatal(err)
	}
	types := func() string {
		all, err := client.Collect(x.api.EventDeliveries(t.Context(), endpoint.ID), 0)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, d := range all {
			out = append(out, strings.TrimPrefix(d.Type, "connection."))
		}
		return sorted(out)
	}
	conn := x.connect("by the API")
	if got := types(); got != "created" {
		t.Errorf("a consent: %q", got)
	}
	s, p := x.reconnect(conn.ID, false)
	if _, err := x.api.FinishConnectSession(t.Context(), s.ID, shownCode(t, p)); err != nil {
		t.Fatal(err)
	}
	if got := types(); got != "created updated" {
		t.Errorf("and a reconnect: %q", got)
	}
	s = x.session(api.CreateConnectSession{})
	p = x.browser().post(strings.TrimPrefix(s.ConnectURL, x.URL)+"/acme/token", url.Values{"credential.token": {"at_a-good-token"}})
	if _, err := x.api.FinishConnectSession(t.Context(), s.ID, shownCode(t, p)); err != nil {
		t.Fatal(err)
	}
	if got := types(); got != "created created updated" {
		t.Errorf("and a session: %q", got)
	}
	// One that waited is made when it is connected, whichever page that was.
	s, p = x.reconnect(x.begin("waits").ID, false)
	if _, err := x.api.FinishConnectSession(t.Context(), s.ID, shownCode(t, p)); err != nil {
		t.Fatal(err)
	}
	if got := types(); got != "created created created updated" {
		t.Errorf("and one that waited: %q", got)
	}
}

// The attempt of a session is finished by its session. Somebody who may begin attempts of
// the same connection cannot finish it, nor use up its tries.
func TestAbuse_048_ASessionsAttemptIsItsOwn(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	conn := x.connect("one")
	s, p := x.reconnect(conn.ID, false)
	code := shownCode(t, p)
	_, err := x.api.FinishConnection(t.Context(), conn.ID, code)
	refused(t, err, 409, "nothing_to_finish")
	application := x.Client(x.operator())
	for range 6 {
		_, err := application.FinishConnectSession(t.Context(), s.ID, "AAAA-AAAA")
		refused(t, err, 403, "not_initiator")
		_, err = application.FinishConnection(t.Context(), conn.ID, "AAAA-AAAA")
		refused(t, err, 409, "nothing_to_finish")
	}
	if _, err := x.api.FinishConnectSession(t.Context(), s.ID, code); err != nil {
		t.Error(err)
	}
}

// A reconnect whose account the vendor does not tell is refused, and its tokens are only
// forgotten: they may be of the grant that the connection lives on.
func TestAbuse_063_AnAccountThatIsNotTold(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	conn := x.connect("one")
	x.vendor.Next(oauthserver.Fault{}, oauthserver.Fault{Skip: true, Status: http.StatusServiceUnavailable})
	_, p := x.reconnect(conn.ID, false)
	wants(t, p, http.StatusConflict, "account_unknown")
	x.noted("account_unknown")
	_, p = x.reconnect(conn.ID, false)
	shownCode(t, p)
	run, err := x.api.RunAction(t.Context(), api.RunAction{ActionIdentifier: "acme.whoami", ConnectionID: conn.ID})
	if err != nil || run.Status != "succeeded" {
		t.Errorf("the action answered %+v, %v", run, err)
	}
	if n := len(x.vendor.Received("/revoke")); n != 0 {
		t.Errorf("%d revocations, of a grant that may be the connection's", n)
	}
}
