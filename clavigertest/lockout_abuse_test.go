package clavigertest_test

import (
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/acme"
)

// counted is what the server itself counts in a row.
var counted = regexp.MustCompile("seals=[^\x1f]*\x1f")

// stranger is a browser at another address than everybody else's.
func stranger(t *testing.T, s *clavigertest.Server) *browser {
	t.Helper()
	b := visitor(t, s)
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	b.http.Transport = &http.Transport{DialContext: from.DialContext}
	t.Cleanup(b.http.CloseIdleConnections)
	return b
}

// sends sends a request of the stranger's and answers its status.
func (b *browser) sends(method, path, body string, header http.Header) int {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.base+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header = header.Clone()
	resp, err := b.http.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func TestAbuse_292_AStrangersFailuresLockNobodyOut(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		h := startHooked(t, clavigertest.Options{Engine: engine})
		owner(t, h.Server)
		h.accept(`{"n":0}`, "before")
		s := stranger(t, h.Server)
		slowed := 0
		for n := range 14 { // ten of them are hashed
			if p := s.signIn(ownerEmail, fmt.Sprintf("a wrong password %d", n)); p.Header.Get("Claviger-Error") == "too_many_attempts" {
				slowed++
			}
		}
		for range 40 {
			if s.sends("POST", "/api/v1/account/applications/token", `{"client_id":"`+h.ClientID+`","client_secret":"a wrong secret of forty characters, or so"}`, http.Header{"Content-Type": {"application/json"}}) == 429 {
				slowed++
			}
		}
		if slowed == 0 {
			t.Error("the stranger was never slowed down")
		}
		wrong := h.Key[:len(h.Key)-6] + "AAAAAA"
		for range 200 {
			s.sends("GET", "/v1/whoami", "", http.Header{"Authorization": {"Bearer " + wrong}})
			s.sends("POST", h.path, `{}`, signedHeader("secret_of_a_stranger_1", `{}`, "forged"))
		}
		// Everybody else goes on at once, at the very same doors.
		if p := visitor(t, h.Server).signIn(ownerEmail, ownerPassword); p.Status != http.StatusSeeOther {
			t.Errorf("the owner's sign-in: %d %s", p.Status, p.Header.Get("Claviger-Error"))
		}
		if token := h.Mint(t, h.ClientID, h.ClientSecret); token == "" {
			t.Error("the application gets no token")
		}
		if a := h.Do(call{Token: h.Key, Method: "GET", Path: "/v1/whoami"}); a.Status != 200 {
			t.Errorf("the key: %d %s", a.Status, a.Body)
		}
		h.accept(`{"n":1}`, "after")
	})
}

// TestAbuse_292_ATenantsFailuresAreItsOwn makes everything of one tenant fail at the vendor
// that another one uses.
func TestAbuse_292_ATenantsFailuresAreItsOwn(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		w := clavigertest.NewTwins(t, clavigertest.Options{Engine: engine})
		limited := strings.Replace(string(w.Vendor.Document("acme")), `"expiry"`, `"rateLimit":{"requestsPerSecond":0.001,"burst":1},"expiry"`, 1)
		if _, err := w.Client(w.B.Owner).PutConnector(t.Context(), "limited", []byte(strings.Replace(limited, `"key":"acme"`, `"key":"limited"`, 1))); err != nil {
			t.Fatal(err)
		}
		made, err := w.Client(w.B.Owner).CreateConnection(t.Context(), api.CreateConnection{
			Connector: "limited", AuthMethod: "key", Name: "limited", WorkspaceID: w.B.Workspaces[0], Credentials: map[string]string{"apiKey": w.B.Secret},
		})
		if err != nil {
			t.Fatal(err)
		}
		w.Vendor.Behave(func(rw http.ResponseWriter, r *http.Request) {
			switch {
			case acme.SecretOf(r) == w.A.Secret:
				rw.WriteHeader(http.StatusNoContent)
			case strings.HasSuffix(r.URL.Path, "/limit"):
				rw.Header().Set("Retry-After", "3600")
				rw.WriteHeader(http.StatusTooManyRequests)
			default:
				rw.WriteHeader(http.StatusUnauthorized)
			}
		})
		for _, id := range []string{w.B.Connections[0], made.ID} {
			for range 30 {
				w.Do(call{Token: w.B.Owner, Method: "GET", Path: proxy(id, "/x")})
				w.Do(call{Token: w.B.Owner, Method: "POST", Path: proxy(id, "/limit")})
			}
			w.Do(call{Token: w.B.Owner, Method: "POST", Path: "/v1/connections/" + id + "/test"})
		}
		for range 10 {
			if a := w.Do(call{Token: w.A.Owner, Method: "GET", Path: proxy(w.A.Connections[0], "/x")}); a.Status != http.StatusNoContent {
				t.Errorf("the other tenant: %d %s", a.Status, a.Body)
			}
		}
		if a := w.Do(call{Token: w.A.Owner, Method: "GET", Path: "/v1/connections/" + w.A.Connections[0]}); a.Field("healthStatus") != "healthy" || a.Field("status") != "active" {
			t.Errorf("the other tenant's connection: %s", a.Body)
		}
	})
}

// TestAbuse_292_NobodyChangesAnything sends every route that changes something without a
// token, and with a wrong one. What was there stays; what a command line's login or a
// vendor's delivery begins is all that is new.
func TestAbuse_292_NobodyChangesAnything(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		w := clavigertest.NewTwins(t, clavigertest.Options{Engine: engine})
		db := database(t, w.Server)
		moving := []string{"ledger", "streams", "checkpoints", "changes", "call_usage", "workers", "goose_db_version"}
		rows := func() map[string][]string {
			out := map[string][]string{}
			for _, table := range tables(t, w.Server, db) {
				if !slices.Contains(moving, table) && !strings.HasPrefix(table, "river_") {
					for _, row := range contents(t, db, table) {
						out[table] = append(out[table], volatile.ReplaceAllString(counted.ReplaceAllString(row, ""), ""))
					}
				}
			}
			return out
		}
		before, open := rows(), 0
		for _, r := range w.App.Routes() {
			if r.Method == "GET" {
				continue
			}
			for _, id := range []string{w.A.Connections[0], "acme", w.ViewerID} {
				for _, header := range []http.Header{{}, {"Authorization": {"Bearer clv_key_that_is_none"}}, {"Authorization": {"Basic Og=="}}, {"Cookie": {"__Host-claviger_session=x; claviger_session=x"}}} {
					method := r.Method
					if method == "" {
						method = "POST"
					}
					a := w.Do(call{Method: method, Path: parameter.ReplaceAllString(r.Path, id), Body: `{}`, Header: header})
					if a.Status/100 == 2 {
						open++
					}
					if !r.Public && a.Status != http.StatusUnauthorized {
						t.Errorf("%s %s to nobody: %d %s", method, r.Path, a.Status, a.Body)
					}
				}
			}
		}
		after := rows()
		for table, was := range before {
			for _, row := range was {
				if !slices.Contains(after[table], row) {
					t.Errorf("gone or changed in %s: %.200s", table, row)
				}
			}
		}
		for table, now := range after {
			if len(now) != len(before[table]) && table != "logins" && table != "inbound_events" {
				t.Errorf("%s has %d rows, had %d", table, len(now), len(before[table]))
			}
		}
		t.Logf("%d answers of success to nobody", open)
	})
}
