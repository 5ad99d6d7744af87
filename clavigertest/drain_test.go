package clavigertest_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/oauthserver"
)

// The server is killed while it asks a vendor, at the vendor's rate, to end many tokens.
// The next one goes on with the rest.
func TestAbuse_092_KilledWhileItDrains(t *testing.T) {
	program := clavigertest.Build(t, "")
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		const count, perSecond = 10, 10
		x := newRevoker(t, engine, oauthserver.Policy{Lifetime: 100 * time.Hour})
		limited := bytes.Replace(vendorDocument(x.vendor, "acme"), []byte(`"kind":"http",`), fmt.Appendf(nil, `"kind":"http","rateLimit":{"requestsPerSecond":%d,"burst":1},`, perSecond), 1)
		if _, err := x.api.PutConnector(t.Context(), "acme", limited); err != nil {
			t.Fatal(err)
		}
		var ids []string
		for i := range count {
			ids = append(ids, x.connect(fmt.Sprint(i)).ID)
		}
		child, o := x.goOn(program)
		report, err := x.api.RevokeConnections(t.Context(), api.RevokeConnections{Connector: "acme"})
		if err != nil || report.Counts.Connections != count {
			t.Fatalf("%+v, %v", report, err)
		}
		asked := func() int { return len(x.vendor.Received("/revoke")) }
		eventually(t, "the vendor is being asked", func() bool { return asked() > 0 })
		began := time.Now()
		eventually(t, "some tokens are revoked", func() bool { return asked() >= count/2 })
		if took := time.Since(began); took < (count/2-2)*time.Second/perSecond {
			t.Errorf("%d requests within %s", count/2, took)
		}
		child.Kill()
		before := asked()
		if before >= 2*count {
			t.Fatal("nothing was left to be done")
		}
		x.clock.move(5 * time.Minute) // what nobody finished is taken up again, and nothing is late yet
		key := x.Key
		x.Server = clavigertest.Start(t, o)
		x.Key, x.api = key, x.Server.Client(key)
		eventually(t, "the report is done", func() bool {
			report, err = x.api.Revocation(t.Context(), report.ID, count, "")
			return err == nil && report.Status == "done"
		})
		if report.Counts != (api.RevocationCounts{Connections: count, Revoked: 2 * count}) || x.vendor.Live() != 0 || x.kept() != 0 {
			t.Errorf("%+v, %d refresh tokens live, %d ciphertexts are kept", report.Counts, x.vendor.Live(), x.kept())
		}
		if twice := asked() - 2*count; twice < 0 || twice > 2*8 { // what was under way when it died
			t.Errorf("%d requests for %d tokens", asked(), 2*count)
		}
		for _, id := range ids {
			if said := verdicts(x.tombstone(id).Revocations); said != bothRevoked {
				t.Errorf("%s: %s", id, said)
			}
		}
	})
}

// goOn stops the server and lets a process of its own, which can be killed, go on with its
// data. It answers that and what a server after it needs.
func (x *revoker) goOn(program clavigertest.Program) (*clavigertest.Child, clavigertest.Options) {
	x.t.Helper()
	o := x.Options()
	o.RootCAs, o.Now = x.vendor.Roots(), x.clock.now
	roots := filepath.Join(x.t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, pemOf(x.vendor.Certificate()), 0o600); err != nil {
		x.t.Fatal(err)
	}
	x.Stop()
	child := program.Serve(x.t, []string{
		"CLAVIGER_DATA=" + o.Data, "CLAVIGER_DATABASE_URL=" + o.DatabaseURL, "CLAVIGER_PUBLIC_URL=" + x.URL, "CLAVIGER_EGRESS_ALLOW=127.0.0.1", "SSL_CERT_FILE=" + roots,
	})
	if child == nil {
		x.t.Fatal("the server did not start")
	}
	key := x.Key
	x.Server = child.As(x.t)
	x.Key, x.api = key, x.Server.Client(key)
	return child, o
}

// What a vendor says about each token is what the tombstone says.
func TestAbuse_091_AVerdictForEachToken(t *testing.T) {
	ends := &oauthserver.Fault{Skip: true, Status: 400, Header: map[string][]string{"Content-Type": {"application/json"}}, Body: `{"error":"unsupported_token_type"}`}
	refuses := &oauthserver.Fault{Skip: true, Status: 400, Header: map[string][]string{"Content-Type": {"application/json"}}, Body: `{"error":"invalid_request"}`}
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		x := newRevoker(t, engine, oauthserver.Policy{Lifetime: 100 * time.Hour})
		for name, c := range map[string]struct {
			refresh, access *oauthserver.Fault // the refresh token is asked about first
			want            [2]string          // of access and refresh
		}{
			"both":               {&oauthserver.Fault{}, &oauthserver.Fault{}, [2]string{"revoked", "revoked"}},
			"refresh alone":      {&oauthserver.Fault{}, ends, [2]string{"not_supported", "revoked"}},
			"access alone":       {ends, &oauthserver.Fault{}, [2]string{"revoked", "not_supported"}},
			"neither":            {ends, ends, [2]string{"not_supported", "not_supported"}},
			"refuses access":     {&oauthserver.Fault{}, refuses, [2]string{"failed", "revoked"}},
			"refuses, then down": {refuses, &oauthserver.Fault{Skip: true, Status: 503}, [2]string{"revoked", "failed"}},
		} {
			t.Run(name, func(t *testing.T) {
				conn := x.connect(name)
				x.vendor.Next(*c.refresh, *c.access)
				x.remove(conn.ID)
				if name == "refuses, then down" {
					eventually(t, "one verdict is there", func() bool { return x.tombstone(conn.ID).Revocations[1].Verdict != "pending" })
					if said := x.tombstone(conn.ID).Revocations[0].Verdict; said != "pending" {
						t.Fatalf("while the vendor is down: %s", said)
					}
					x.clock.move(time.Hour)
				}
				eventually(t, "there are verdicts", func() bool {
					said := x.tombstone(conn.ID).Revocations
					return len(said) == 2 && verdictOf(said[0]) == c.want[0] && verdictOf(said[1]) == c.want[1]
				})
				eventually(t, "nothing is kept", func() bool { return x.kept() == 0 })
			})
		}
	})
}

// verdictOf answers a verdict without its reason.
func verdictOf(r api.Revocation) string {
	verdict, _, _ := bytes.Cut([]byte(r.Verdict), []byte(":"))
	return string(verdict)
}
