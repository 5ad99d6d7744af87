package clavigertest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"claviger/api"
	"claviger/clavigertest/acme"
)

// Tenant is one organization and who acts for it.
type Tenant struct {
	ID                     string
	Owner                  string // an API key with the owner's rights
	ClientID, ClientSecret string
	Operator               string // an operator token
	Workspaces             []string
	Connections            []string // one in each workspace
	Secret                 string   // what its connections hold
}

// Twins are two organizations of the same shape on one server, beside the instance's
// own, with a vendor that knows both: A has two workspaces, B has one.
type Twins struct {
	*Server
	Vendor *acme.Vendor
	A, B   Tenant
	// Tokens of A.
	ScopedA1, ScopedA2 string // for A's first and second workspace
	ProxyOnly          string // a key of A's first workspace that may use connections and no more
	Viewer             string // a key of A that may read connections and no more
	ViewerID           string
	Revoked            string // a key of A
}

// NewTwins starts a server and makes the twins.
func NewTwins(t testing.TB, o Options) *Twins {
	t.Helper()
	w := &Twins{Vendor: acme.Start(t, "ak_secret_of_a_0001", "ak_secret_of_b_0001")}
	if o.EgressAllow == "" {
		o.EgressAllow = w.Vendor.Addr()
	}
	w.Server = Start(t, o)
	w.A = w.tenant(t, "Alpha", "ak_secret_of_a_0001", "a1", "a2")
	w.B = w.tenant(t, "Beta", "ak_secret_of_b_0001", "b1")
	w.ScopedA1 = w.Scoped(t, w.A.Operator, "a1")
	w.ScopedA2 = w.Scoped(t, w.A.Operator, "a2")
	w.ProxyOnly, _ = w.APIKey(t, w.A, api.CreateAPIKey{Name: "proxy only", WorkspaceID: w.A.Workspaces[0], Scopes: []string{"connections:proxy", "actions:run"}})
	w.Viewer, w.ViewerID = w.APIKey(t, w.A, api.CreateAPIKey{Name: "viewer", Scopes: []string{"connections:read"}})
	revoked, id := w.APIKey(t, w.A, api.CreateAPIKey{Name: "revoked"})
	w.Revoked = revoked
	if a := w.Do(Call{Token: w.A.Owner, Method: http.MethodDelete, Path: "/v1/api-keys/" + id}); a.Status != 200 {
		t.Fatalf("revoking a key: %d %s", a.Status, a.Body)
	}
	return w
}

func (w *Twins) tenant(t testing.TB, name, secret string, workspaces ...string) Tenant {
	t.Helper()
	made, err := w.Client(w.Key).CreateOrganization(t.Context(), api.CreateOrganization{Name: name})
	if err != nil {
		t.Fatalf("making organization %s: %v", name, err)
	}
	tenant := Tenant{ID: made.ID, Owner: made.APIKey, ClientID: made.ClientID, ClientSecret: made.ClientSecret, Secret: secret}
	tenant.Operator = w.Mint(t, made.ClientID, made.ClientSecret)
	c := w.Client(tenant.Owner)
	if _, err := c.PutConnector(t.Context(), "acme", w.Vendor.Document("acme")); err != nil {
		t.Fatalf("storing the connector: %v", err)
	}
	for _, each := range workspaces {
		ws, err := c.CreateWorkspace(t.Context(), api.CreateWorkspace{Name: each})
		if err != nil {
			t.Fatalf("making workspace %s: %v", each, err)
		}
		conn, err := c.CreateConnection(t.Context(), api.CreateConnection{
			Connector: "acme", AuthMethod: "key", Name: "crm of " + each, WorkspaceID: ws.ID, Credentials: map[string]string{"apiKey": secret},
		})
		if err != nil {
			t.Fatalf("connecting %s: %v", each, err)
		}
		tenant.Workspaces, tenant.Connections = append(tenant.Workspaces, ws.ID), append(tenant.Connections, conn.ID)
	}
	return tenant
}

// Mint answers an operator token for an application.
func (s *Server) Mint(t testing.TB, clientID, clientSecret string) string {
	t.Helper()
	a := s.Do(Call{
		Method: http.MethodPost, Path: "/api/v1/account/applications/token",
		Body: map[string]string{"client_id": clientID, "client_secret": clientSecret},
	})
	if a.Status != 200 {
		t.Fatalf("minting an operator token: %d %s", a.Status, a.Body)
	}
	return a.Field("access_token")
}

// Scoped answers a scoped token for a workspace by its name.
func (s *Server) Scoped(t testing.TB, operator, workspace string) string {
	t.Helper()
	a := s.Do(Call{
		Token: operator, Method: http.MethodPost, Path: "/api/v1/embedded/scoped-token", Body: map[string]string{"workspace_name": workspace},
	})
	if a.Status != 200 {
		t.Fatalf("minting a scoped token: %d %s", a.Status, a.Body)
	}
	return a.Field("token")
}

// APIKey makes a key of a tenant and answers it with its id.
func (s *Server) APIKey(t testing.TB, of Tenant, in api.CreateAPIKey) (key, id string) {
	t.Helper()
	made, err := s.Client(of.Owner).CreateAPIKey(t.Context(), in)
	if err != nil {
		t.Fatalf("making the key %q: %v", in.Name, err)
	}
	return made.Key, made.ID
}

// Connect makes a connection of the first organization's default workspace to a vendor,
// storing the connector under its key first.
func (s *Server) Connect(t testing.TB, v *acme.Vendor, connector, method string, credentials map[string]string) string {
	t.Helper()
	c := s.Client(s.Key)
	if _, err := c.PutConnector(t.Context(), connector, v.Document(connector)); err != nil {
		t.Fatalf("storing the connector: %v", err)
	}
	conn, err := c.CreateConnection(t.Context(), api.CreateConnection{
		Connector: connector, AuthMethod: method, Name: fmt.Sprintf("%s by %s", connector, method), Credentials: credentials,
	})
	if err != nil {
		t.Fatalf("connecting: %v", err)
	}
	return conn.ID
}

// Audit answers ledger entries of the token's organization, newest first, that match
// the query ("outcome=denied&limit=100").
func (s *Server) Audit(t testing.TB, token, query string) []api.Entry {
	t.Helper()
	a := s.Do(Call{Token: token, Method: http.MethodGet, Path: "/v1/audit?" + query})
	if a.Status != 200 {
		t.Fatalf("reading the ledger: %d %s", a.Status, a.Body)
	}
	var list api.List[api.Entry]
	if err := json.Unmarshal(a.Body, &list); err != nil {
		t.Fatal(err)
	}
	return list.Data
}
