package clavigertest_test

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"claviger/clavigertest"
	"claviger/clavigertest/acme"
)

// TestAbuse_107 lets the vendor redirect to where the credential would stand in the
// address, for each way in which it travels.
func TestAbuse_107_125_ASecretInARedirectIsBlotted(t *testing.T) {
	const secret = "ak_redirected+secret/1"
	v := acme.Start(t, secret)
	s := clavigertest.Start(t, clavigertest.Options{EgressAllow: v.Addr()})
	for method, credentials := range map[string]map[string]string{
		"key": {"apiKey": secret}, "query": {"apiKey": secret}, "cookie": {"apiKey": secret}, "bearer": {"token": secret}, "basic": {"username": "ada", "password": secret},
	} {
		v.Behave(nil)
		id := s.Connect(t, v, "acme-"+method, method, credentials)
		v.Behave(func(w http.ResponseWriter, r *http.Request) {
			where := url.Values{"api_key": {acme.SecretOf(r)}, "page": {"2"}}
			w.Header().Set("Location", acme.Base+"/next?"+where.Encode())
			w.Header().Set("Link", `</v2/next?api_key=`+acme.SecretOf(r)+`>; rel="next"`)
			w.WriteHeader(http.StatusPermanentRedirect)
		})
		a := s.Do(call{Token: s.Key, Method: "POST", Path: proxy(id, "/start")})
		if a.Status != http.StatusPermanentRedirect || !strings.Contains(a.Header.Get("Location"), "page=2") {
			t.Errorf("%s: %d %v", method, a.Status, a.Header)
		}
		for name, values := range a.Header {
			for _, value := range values {
				if strings.Contains(value, secret) || strings.Contains(value, url.QueryEscape(secret)) || strings.Contains(value, url.PathEscape(secret)) {
					t.Errorf("%s: %s is %s", method, name, value)
				}
			}
		}
	}
}

// TestAbuse_201 looks for what a deleted connection leaves behind.
func TestAbuse_201_ADeletedCredentialIsGone(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		c := connect(t, clavigertest.Options{Engine: engine}, "ak_shredded_secret")
		db := database(t, c.Server)
		var sealed, left []byte
		if err := db.QueryRowContext(t.Context(), "SELECT sealed FROM connections WHERE id = $1", c.id).Scan(&sealed); err != nil || len(sealed) < 40 {
			t.Fatalf("%d bytes: %v", len(sealed), err)
		}
		present := func() (n int) {
			for _, content := range c.Files() {
				n += bytes.Count(content, sealed)
			}
			return n
		}
		if engine == clavigertest.SQLite && present() == 0 {
			t.Fatal("the ciphertext is in no file to begin with: nothing would be proven")
		}
		if _, err := c.Client(c.Key).DeleteConnection(t.Context(), c.id, false); err != nil {
			t.Fatal(err)
		}
		if err := db.QueryRowContext(t.Context(), "SELECT sealed FROM connections WHERE id = $1", c.id).Scan(&left); err != nil || len(left) != 0 {
			t.Errorf("the row keeps %d bytes: %v", len(left), err)
		}
		for _, table := range tables(t, c.Server, db) {
			if table != "ledger" && strings.Contains(strings.Join(contents(t, db, table), ""), "ak_shredded_secret") {
				t.Errorf("table %s holds the secret", table)
			}
		}
		_ = db.Close()
		c.Stop()
		if n := present(); n != 0 {
			t.Errorf("the ciphertext is in the files %d times after an orderly end", n)
		}
	})
}

// TestShortLivedTokensEndAtOnce revokes tokens of each kind on the node that knows them.
func TestShortLivedTokensEndAtOnce(t *testing.T) {
	w := clavigertest.NewTwins(t, clavigertest.Options{})
	status := func(token string) int { return w.Do(call{Token: token, Method: "GET", Path: "/v1/whoami"}).Status }
	revoke := func(body map[string]any) {
		t.Helper()
		if a := w.Do(call{Token: w.A.Owner, Method: "POST", Path: "/v1/tokens/revoke", Body: body}); a.Status != 200 {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}
	if a, b := status(w.ScopedA1), status(w.ScopedA2); a != 200 || b != 200 {
		t.Fatalf("before: %d %d", a, b)
	}
	who := w.Do(call{Token: w.ScopedA1, Method: "GET", Path: "/v1/whoami"})
	revoke(map[string]any{"tokenId": who.Field("tokenId")})
	if a, b := status(w.ScopedA1), status(w.ScopedA2); a != 401 || b != 200 {
		t.Errorf("one was revoked: %d, the other %d", a, b)
	}
	revoke(map[string]any{"before": time.Now().Add(time.Second).UTC().Format(time.RFC3339Nano)})
	if a, b, c := status(w.ScopedA2), status(w.A.Operator), status(w.B.Operator); a != 401 || b != 401 || c != 200 {
		t.Errorf("all of A's were revoked: scoped %d, operator %d, B's %d", a, b, c)
	}
	if status(w.A.Owner) != 200 {
		t.Error("an API key is no short-lived token")
	}
}
