package embedded_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"claviger"
	"claviger/internal/authn"
	"claviger/internal/seal"
	"claviger/internal/store"
	"claviger/internal/surface/embedded"
	"claviger/internal/wire"
)

// plainLedger decides by permission and runs changes on the real store.
type plainLedger struct{ db *store.DB }

func (plainLedger) Record(context.Context, claviger.Entry) error { return nil }

func (plainLedger) Check(_ context.Context, c claviger.Caller, v claviger.Verb, _ claviger.Resource) error {
	if c.May(v) {
		return nil
	}
	return claviger.Errorf(claviger.KindDenied, "permission_denied", "This needs %s.", v)
}

func (l plainLedger) Change(ctx context.Context, c claviger.Caller, v claviger.Verb, r claviger.Resource, fn func(*store.Tx) error) error {
	if err := l.Check(ctx, c, v, r); err != nil {
		return err
	}
	return l.db.InTx(ctx, "", fn)
}

type box struct{ keys *seal.Keyset }

func (b box) SealInstance(name string, plaintext []byte) ([]byte, error) {
	return b.keys.Seal(claviger.Binding{Purpose: "instance", ID: name}, plaintext)
}

func (b box) OpenInstance(name string, sealed []byte) ([]byte, error) {
	return b.keys.Open(claviger.Binding{Purpose: "instance", ID: name}, sealed)
}

type instance struct {
	url    string
	db     *store.DB
	first  *authn.Bootstrapped
	secret string
	key    string
	routes []wire.Route
}

func start(t *testing.T) *instance {
	t.Helper()
	const eu = "b9e48d61-f082-4a14-a8d0-799a907938cb"
	dir := t.TempDir()
	db, err := store.Open(t.Context(), store.Config{
		Now:     time.Now,
		URL:     "sqlite:" + filepath.Join(dir, "us.db"),
		Regions: map[claviger.RegionID]string{claviger.DefaultRegion: "", eu: "sqlite:" + filepath.Join(dir, "eu.db")},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	keys, err := seal.NewKeyset(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &instance{db: db}
	ledger := plainLedger{db}
	if i.first, err = authn.Bootstrap(t.Context(), db, ledger, authn.BootstrapConfig{}); err != nil {
		t.Fatal(err)
	}
	i.first.ClientSecret.Use(func(b []byte) { i.secret = string(b) })
	i.first.APIKey.Use(func(b []byte) { i.key = string(b) })
	tokens, err := authn.New(t.Context(), authn.Config{Store: db, Ledger: ledger, Sealer: box{keys}, PublicURL: "https://claviger.example"})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	api, err := wire.New(wire.Config{
		Mux: mux, Title: "Embedded", Version: "1", Authenticator: tokens, Recorder: ledger,
		Encode: embedded.EncodeError, Log: slog.New(slog.DiscardHandler), LenientQuery: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	embedded.Mount(api, tokens)
	i.routes = api.Routes()
	edge := wire.Edge{Encode: func(string) wire.Encoder { return embedded.EncodeError }}
	server := httptest.NewServer(edge.Front(mux))
	t.Cleanup(server.Close)
	i.url = server.URL
	return i
}

func (i *instance) call(t *testing.T, method, path, token, body string) (int, string, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, i.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatalf("%s %s: %d %q", method, path, res.StatusCode, b)
	}
	return res.StatusCode, strings.TrimSpace(string(b)), m
}

func (i *instance) operator(t *testing.T) string {
	t.Helper()
	status, body, m := i.call(t, "POST", "/api/v1/account/applications/token", "", `{"client_id":"`+i.first.ClientID+`","client_secret":"`+i.secret+`"}`)
	if status != 200 || m["token_type"] != "bearer" || m["expires_in"] != 900.0 || len(m) != 4 {
		t.Fatalf("%d %s", status, body)
	}
	org, err := claviger.UUID(claviger.PrefixOrganization, string(i.first.Organization))
	if err != nil || m["organization_id"] != org {
		t.Fatalf("organization_id %v, not %s (%v)", m["organization_id"], org, err)
	}
	return m["access_token"].(string)
}

func TestTokensAsDocumented(t *testing.T) {
	i := start(t)
	operator := i.operator(t)
	status, body, m := i.call(t, "POST", "/api/v1/embedded/scoped-token", operator, `{"workspace_name":"customer_workspace_123"}`)
	if status != 200 || len(m) != 1 {
		t.Fatalf("%d %s", status, body)
	}
	scoped := m["token"].(string)
	for _, path := range []string{"/api/v1/embedded/scoped-token/info", "/api/v1/account/applications/scoped-token/info"} {
		status, body, m = i.call(t, "GET", path, scoped, "")
		uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
		if status != 200 || len(m) != 3 || m["workspace_id"] != m["workspace ID"] || !uuid.MatchString(m["workspace_id"].(string)) || !uuid.MatchString(m["organization_id"].(string)) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	_, _, again := i.call(t, "POST", "/api/v1/account/applications/scoped-token", operator, `{"customer_name":" Customer_Workspace_123 "}`)
	_, _, info := i.call(t, "GET", "/api/v1/embedded/scoped-token/info", again["token"].(string), "")
	if info["workspace_id"] != m["workspace_id"] {
		t.Errorf("the same name is another workspace: %v, %v", info, m)
	}
	if status, body, _ := i.call(t, "POST", "/api/v1/embedded/scoped-token", i.key, `{"workspace_name":"x"}`); status != 200 {
		t.Errorf("an owner's API key: %d %s", status, body)
	}
	status, body, m = i.call(t, "GET", "/.well-known/jwks.json", "", "")
	if status != 200 || len(m["keys"].([]any)) != 1 || strings.Contains(body, `"d"`) {
		t.Errorf("key set: %d %s", status, body)
	}
}

func TestRegions(t *testing.T) {
	i := start(t)
	operator := i.operator(t)
	const eu = "b9e48d61-f082-4a14-a8d0-799a907938cb"
	mint := func(name, region string) int {
		status, _, _ := i.call(t, "POST", "/api/v1/embedded/scoped-token", operator, `{"workspace_name":"`+name+`","region_id":"`+region+`"}`)
		return status
	}
	regionOf := func(name string) claviger.RegionID {
		t.Helper()
		list, err := i.db.Workspaces(t.Context(), claviger.Authenticated(i.first.Organization, ""), store.Page{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range list {
			if w.Name == name {
				return w.Region
			}
		}
		t.Fatalf("no workspace %s", name)
		return ""
	}
	if mint("here", string(claviger.DefaultRegion)) != 200 || regionOf("here") != claviger.DefaultRegion {
		t.Error("the default region")
	}
	if mint("there", strings.ToUpper(eu)) != 200 || regionOf("there") != eu {
		t.Error("the other region")
	}
	if mint("there", string(claviger.DefaultRegion)) != 200 || regionOf("there") != eu {
		t.Error("a workspace that exists must keep its region")
	}
	if got := mint("nowhere", "00000000-0000-0000-0000-000000000000"); got != 422 {
		t.Errorf("an unknown region: %d", got)
	}
}

func TestErrorShapes(t *testing.T) {
	i := start(t)
	operator := i.operator(t)
	_, _, m := i.call(t, "POST", "/api/v1/embedded/scoped-token", operator, `{"workspace_name":"acme"}`)
	scoped := m["token"].(string)
	const (
		unauthorized = `{"detail":"Invalid authentication credentials"}`
		forbidden    = `{"detail":"Access denied to this resource"}`
		missing      = `{"detail":[{"loc":["body","workspace_name"],"msg":"field required","type":"value_error.missing"}]}`
	)
	mint := "/api/v1/embedded/scoped-token"
	for name, c := range map[string]struct {
		method, path, token, body string
		status                    int
		want                      string
	}{
		"no token":              {"POST", mint, "", `{"workspace_name":"a"}`, 401, unauthorized},
		"bad token":             {"POST", mint, "nonsense", `{"workspace_name":"a"}`, 401, unauthorized},
		"wrong secret":          {"POST", "/api/v1/account/applications/token", "", `{"client_id":"` + i.first.ClientID + `","client_secret":"no"}`, 401, unauthorized},
		"unknown client":        {"POST", "/api/v1/account/applications/token", "", `{"client_id":"no","client_secret":"no"}`, 401, unauthorized},
		"scoped on operator's":  {"POST", mint, scoped, `{"workspace_name":"a"}`, 403, forbidden},
		"operator on scoped's":  {"GET", mint + "/info", operator, "", 403, forbidden},
		"missing":               {"POST", mint, operator, `{}`, 422, missing},
		"empty":                 {"POST", mint, operator, `{"workspace_name":" "}`, 422, missing},
		"unknown field":         {"POST", mint, operator, `{"workspace_name":"a","x":1}`, 422, `{"detail":[{"loc":["body","x"],"msg":"extra fields not permitted","type":"value_error.extra"}]}`},
		"missing, newer name":   {"POST", "/api/v1/account/applications/scoped-token", operator, `{"customer_name":""}`, 422, strings.Replace(missing, "workspace_name", "customer_name", 1)},
		"not found":             {"GET", "/api/v1/nowhere", operator, "", 404, ""},
		"wrong method":          {"DELETE", mint, operator, "", 405, ""},
		"unreadable":            {"POST", mint, operator, `{`, 400, ""},
		"token in the query":    {"GET", mint + "/info?token=" + scoped, "", "", 400, ""},
		"confusable name":       {"POST", mint, operator, `{"workspace_name":"\u0410cme"}`, 422, ""},
		"extra lifetime claims": {"POST", mint, operator, `{"workspace_name":"a","expires_in":99999999}`, 422, ""},
	} {
		t.Run(name, func(t *testing.T) {
			status, body, m := i.call(t, c.method, c.path, c.token, c.body)
			if status != c.status || c.want != "" && body != c.want || m["detail"] == nil || len(m) != 1 {
				t.Errorf("%d %s", status, body)
			}
		})
	}
}

func TestRoutesSayWhoMayReachThem(t *testing.T) {
	public := map[string]bool{"createOperatorToken": true, "getKeySet": true}
	for _, r := range start(t).routes {
		if r.Public != public[r.Name] || !r.Public && len(r.Kinds) == 0 {
			t.Errorf("route %s: public %v, kinds %v", r.Name, r.Public, r.Kinds)
		}
	}
}
