package clavigertest_test

import (
	"strings"
	"testing"
	"time"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/oauthserver"
)

// A vendor that answers with everything that it was sent: nothing of that is in a page, an
// answer, the log, the ledger, an event, a metric or the files.
func TestAbuse_093_AVendorThatEchoes(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		x := newRevoker(t, engine, oauthserver.Policy{Rotates: true})
		var seen strings.Builder
		echo := oauthserver.Fault{Skip: true, Echo: true}
		if _, err := x.api.CreateEventEndpoint(t.Context(), api.CreateEventEndpoint{URL: "https://events.invalid/", Events: []string{"connection.refresh_failed", "connection.revoked"}}); err != nil {
			t.Fatal(err)
		}
		conn, b := x.begin("one"), x.browser()
		back := x.callback(b.leave(conn.AuthorizeURL))
		x.vendor.Next(echo)
		p := b.get(back)
		if p.Status < 400 {
			t.Fatalf("an echoed code answered %d", p.Status)
		}
		seen.WriteString(p.Body)
		live := x.connect("two")
		x.clock.move(2 * time.Hour)
		x.api = x.Client(x.Key)
		x.vendor.Next(echo)
		seen.Write(x.Do(call{Token: x.Key, Method: "GET", Path: proxy(live.ID, "/userinfo")}).Body)
		x.vendor.Next(echo, echo)
		x.remove(live.ID)
		eventually(t, "the vendor has answered what revokes", func() bool { return len(x.vendor.Received("/revoke")) >= 2 })
		eventually(t, "the verdict is there", func() bool {
			return !strings.Contains(verdicts(x.tombstone(live.ID).Revocations), "pending")
		})

		var canaries clavigertest.Canaries
		sent := map[string]string{"client secret": reveal(x.vendor.Client.Secret)}
		for _, r := range x.vendor.Received("") {
			for _, name := range []string{"code", "code_verifier", "refresh_token", "token"} {
				if value := r.Form.Get(name); value != "" {
					sent[name+" "+value[:4]] = value
				}
			}
		}
		if len(sent) < 5 {
			t.Fatalf("the vendor was sent %d secrets only", len(sent))
		}
		for name, value := range sent {
			canaries.Add(name, value)
		}
		for _, path := range []string{"/v1/connections/" + conn.ID, "/v1/connections/" + live.ID, "/v1/audit?limit=100"} {
			seen.Write(x.Do(call{Token: x.Key, Method: "GET", Path: path}).Body)
		}
		sinks := map[string][]byte{
			"answers and pages": []byte(seen.String()), "log": []byte(x.Logs.String()), "metrics": x.Admin("/metrics").Body,
		}
		if engine == clavigertest.SQLite {
			for path, content := range x.Files() {
				sinks[path] = content
			}
		}
		for sink, content := range sinks {
			for _, hit := range canaries.Scan(sink, content) {
				t.Errorf("%s holds the %s (%s): %s", hit.Sink, hit.Secret, hit.Encoding, hit.Around)
			}
		}
	})
}
