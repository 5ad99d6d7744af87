package clavigertest_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/oauthserver"
)

// revoker is a server whose clock is moved, and the vendor that it asks.
type revoker struct {
	*consent
	clock *clock
}

func newRevoker(t *testing.T, engine clavigertest.Engine, policy oauthserver.Policy) *revoker {
	t.Helper()
	c := &clock{at: time.Now()}
	policy.Now = c.now
	return &revoker{consent: newConsent(t, clavigertest.Options{Engine: engine, Now: c.now}, policy), clock: c}
}

// restart stops the server and starts another on its data.
func (x *revoker) restart() {
	x.t.Helper()
	o := x.Options()
	o.RootCAs, o.Now = x.vendor.Roots(), x.clock.now
	key := x.Key
	x.Stop()
	x.Server = clavigertest.Start(x.t, o)
	x.Key, x.api = key, x.Server.Client(key)
}

func (x *revoker) remove(id string) api.Connection {
	x.t.Helper()
	conn, err := x.api.DeleteConnection(x.t.Context(), id, false)
	if err != nil {
		x.t.Fatal(err)
	}
	return conn
}

// verdicts answers what a tombstone says, "access: revoked, refresh: pending".
func verdicts(all []api.Revocation) string {
	var texts []string
	for _, r := range all {
		texts = append(texts, r.Token+": "+r.Verdict)
	}
	return strings.Join(texts, ", ")
}

func (x *revoker) tombstone(id string) api.Connection {
	x.t.Helper()
	conn, err := x.api.Connection(x.t.Context(), id)
	if err != nil {
		x.t.Fatal(err)
	}
	return conn
}

// becomes waits until a tombstone says so.
func (x *revoker) becomes(id, want string) {
	x.t.Helper()
	said := ""
	defer func() {
		if x.t.Failed() {
			x.t.Logf("it says: %s", said)
		}
	}()
	eventually(x.t, "the tombstone says "+want, func() bool {
		said = verdicts(x.tombstone(id).Revocations)
		return said == want
	})
}

// kept counts the ciphertexts that wait for a revocation.
func (x *revoker) kept() (n int) {
	x.t.Helper()
	db := database(x.t, x.Server)
	if err := db.QueryRowContext(x.t.Context(), "SELECT COUNT(*) FROM revocations WHERE sealed IS NOT NULL").Scan(&n); err != nil {
		x.t.Fatal(err)
	}
	return n
}

const bothRevoked = "access: revoked, refresh: revoked"

func TestAbuse_091_DeletedConnections(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		x := newRevoker(t, engine, oauthserver.Policy{Lifetime: 100 * time.Hour})
		for name, c := range map[string]struct {
			fault *oauthserver.Fault
			want  string
		}{
			"confirms": {nil, bothRevoked},
			"refuses": {
				&oauthserver.Fault{Skip: true, Status: 400, Header: http.Header{"Content-Type": {"application/json"}}, Body: `{"error":"invalid_request","error_description":"s3cret"}`},
				"failed",
			},
		} {
			t.Run(name, func(t *testing.T) {
				conn := x.connect(name)
				x.vendor.Always(c.fault)
				defer x.vendor.Always(nil)
				said := x.remove(conn.ID)
				if said.Status != "revoked" || len(said.Revocations) != 2 {
					t.Fatalf("deleting answered %s, %s", said.Status, verdicts(said.Revocations))
				}
				used := x.Do(call{Token: x.Key, Method: "GET", Path: "/v1/connections/" + conn.ID + "/proxy/userinfo"})
				if used.Status != 409 {
					t.Fatalf("a use after it answered %d %s", used.Status, used.Body)
				}
				if c.want == bothRevoked {
					x.becomes(conn.ID, c.want)
				}
				eventually(t, "there are verdicts", func() bool {
					text := verdicts(x.tombstone(conn.ID).Revocations)
					if strings.Contains(text, "s3cret") {
						t.Fatalf("the vendor's own words are shown: %s", text)
					}
					return strings.Count(text, c.want) > 0
				})
				eventually(t, "nothing is kept", func() bool { return x.kept() == 0 })
			})
		}
		t.Run("ledger", func(t *testing.T) {
			found := x.Audit(t, x.Key, "verb=connections:revoke&outcome=allowed")
			if len(found) == 0 || found[0].Actor.Kind != "system" {
				t.Fatalf("the ledger has %d uses by revocation", len(found))
			}
		})
	})
}

func TestAbuse_091_VendorDownForAnHour(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		x := newRevoker(t, engine, oauthserver.Policy{Lifetime: 100 * time.Hour})
		conn := x.connect("down")
		x.vendor.Always(&oauthserver.Fault{Skip: true, Status: 503})
		x.remove(conn.ID)
		eventually(t, "the vendor was asked", func() bool { return len(x.vendor.Received("/revoke")) >= 2 })
		if said := verdicts(x.tombstone(conn.ID).Revocations); said != "access: pending, refresh: pending" {
			t.Fatalf("while the vendor is down: %s", said)
		}
		if n := x.kept(); n != 1 {
			t.Fatalf("%d ciphertexts are kept", n)
		}
		x.restart()
		x.clock.move(time.Hour)
		x.vendor.Always(nil)
		x.becomes(conn.ID, bothRevoked)
		if x.vendor.Live() != 0 || x.kept() != 0 {
			t.Fatalf("%d refresh tokens live, %d ciphertexts are kept", x.vendor.Live(), x.kept())
		}
	})
}

func TestAbuse_091_NothingIsKeptLongerThanADay(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		x := newRevoker(t, engine, oauthserver.Policy{Lifetime: 100 * time.Hour})
		conn := x.connect("never")
		x.vendor.Always(&oauthserver.Fault{Skip: true, Status: 503})
		x.remove(conn.ID)
		eventually(t, "the vendor was asked", func() bool { return len(x.vendor.Received("/revoke")) >= 2 })
		x.clock.move(25 * time.Hour)
		eventually(t, "it is given up", func() bool {
			said := x.tombstone(conn.ID).Revocations
			return strings.HasPrefix(said[0].Verdict, "failed: ") && strings.HasPrefix(said[1].Verdict, "failed: ")
		})
		if n := x.kept(); n != 0 {
			t.Fatalf("%d ciphertexts are kept", n)
		}
	})
}

func TestAbuse_090_RefreshInFlight(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		x := newRevoker(t, engine, oauthserver.Policy{Rotates: true})
		conn := x.connect("racing")
		x.clock.move(2 * time.Hour)
		reached, hold := make(chan struct{}, 1), make(chan struct{})
		x.vendor.Next(oauthserver.Fault{Reached: reached, Hold: hold})
		used := make(chan int, 1)
		go func() {
			used <- x.Do(call{Token: x.Key, Method: "GET", Path: "/v1/connections/" + conn.ID + "/proxy/userinfo"}).Status
		}()
		<-reached // the vendor has issued new tokens, and its answer is on its way
		x.remove(conn.ID)
		x.becomes(conn.ID, bothRevoked)
		close(hold)
		x.becomes(conn.ID, bothRevoked+", "+bothRevoked)
		if status := <-used; status != 409 {
			t.Fatalf("the call answered %d", status)
		}
		asked := map[string]bool{}
		for _, r := range x.vendor.Received("/revoke") {
			asked[r.Form.Get("token")] = true
		}
		if len(asked) != 4 || x.vendor.Live() != 0 || x.kept() != 0 {
			t.Fatalf("%d tokens were revoked, %d live, %d ciphertexts are kept", len(asked), x.vendor.Live(), x.kept())
		}
	})
}

func TestAbuse_092_PanicButton(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		x := newRevoker(t, engine, oauthserver.Policy{Lifetime: 100 * time.Hour})
		var ids []string
		for _, name := range []string{"one", "two", "three", "four", "five", "six", "seven"} {
			ids = append(ids, x.connect(name).ID)
		}
		if a := x.Do(call{Token: x.Key, Method: "GET", Path: "/v1/connections/" + ids[0] + "/proxy/userinfo"}); a.Status != 200 {
			t.Fatalf("a use: %d %s", a.Status, a.Body)
		}
		x.vendor.Always(&oauthserver.Fault{Skip: true, Status: 503})
		if _, err := x.api.RevokeConnections(t.Context(), api.RevokeConnections{}); err == nil {
			t.Fatal("a revocation of everything was accepted")
		}
		report, err := x.api.RevokeConnections(t.Context(), api.RevokeConnections{Connector: "acme"})
		if err != nil {
			t.Fatal(err)
		}
		if report.Status != "revoking" || report.Counts.Connections != 7 || report.Counts.Pending == 0 || len(report.Connections.Data) != 7 {
			t.Fatalf("the report says %+v", report)
		}
		for _, id := range ids {
			if a := x.Do(call{Token: x.Key, Method: "GET", Path: "/v1/connections/" + id + "/proxy/userinfo"}); a.Status != 409 {
				t.Fatalf("a use after it: %d", a.Status)
			}
		}
		for _, each := range report.Connections.Data {
			used := each.UsedBy
			if first := each.ConnectionID == ids[0]; first != (len(used) == 1 && used[0].Uses == 1 && used[0].Kind == "api_key") || !first && len(used) != 0 {
				t.Fatalf("%s was used by %+v", each.Name, used)
			}
		}
		x.restart()
		x.clock.move(time.Hour)
		x.vendor.Always(nil)
		eventually(t, "the report is done", func() bool {
			report, err = x.api.Revocation(t.Context(), report.ID, 3, "")
			return err == nil && report.Status == "done"
		})
		if report.Counts != (api.RevocationCounts{Connections: 7, Revoked: 14}) || !report.Connections.HasMore {
			t.Fatalf("the report says %+v", report)
		}
		rest, err := x.api.Revocation(t.Context(), report.ID, 3, report.Connections.NextCursor)
		if err != nil || len(rest.Connections.Data) != 3 || verdicts(rest.Connections.Data[0].Revocations) != bothRevoked {
			t.Fatalf("the second page: %+v, %v", rest, err)
		}
		if x.vendor.Live() != 0 || x.kept() != 0 {
			t.Fatalf("%d refresh tokens live, %d ciphertexts are kept", x.vendor.Live(), x.kept())
		}
	})
}

func TestExpirations(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		x := newRevoker(t, engine, oauthserver.Policy{NoRefresh: true})
		conn := x.connect("ends, soon")
		a := x.Do(call{Token: x.Key, Method: "GET", Path: "/v1/expirations"})
		if a.Status != 200 || a.Field("data.0.connectionId") != conn.ID && !strings.Contains(string(a.Body), `"kind":"accessToken"`) {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		req, err := http.NewRequestWithContext(t.Context(), "GET", x.URL+"/v1/expirations.ics", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("anybody", x.Key)
		feed, body := x.send(req)
		for _, want := range []string{"BEGIN:VCALENDAR\r\n", "UID:" + conn.ID + "-accessToken@claviger", `SUMMARY:ends\, soon (acme): access token ends`} {
			if feed.StatusCode != 200 || !strings.Contains(strings.ReplaceAll(body, "\r\n ", ""), want) {
				t.Fatalf("the feed, %d, lacks %q: %s", feed.StatusCode, want, body)
			}
		}
		req.SetBasicAuth("anybody", "wrong")
		if refused, _ := x.send(req); refused.StatusCode != 401 || refused.Header.Get("WWW-Authenticate") == "" {
			t.Fatalf("a wrong password: %d", refused.StatusCode)
		}
		metrics := x.Admin("/metrics")
		if !strings.Contains(string(metrics.Body), "claviger_expiration_days 0.04") {
			t.Fatal("the metric does not say that the next token ends within the hour")
		}
	})
}

func (x *revoker) send(req *http.Request) (*http.Response, string) {
	x.t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		x.t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // it was read whole
	text, err := io.ReadAll(res.Body)
	if err != nil {
		x.t.Fatal(err)
	}
	return res, string(text)
}
