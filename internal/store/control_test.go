package store_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"claviger"
	"claviger/internal/store"
)

func same(t testing.TB, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{})); d != "" {
		t.Fatalf("differs (-want +got):\n%s", d)
	}
}

func TestOrganizations(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		first := claviger.Organization{ID: claviger.OrganizationID(f.id("org")), Name: "first", Instance: true, CreatedAt: f.time()}
		f.do(func(ctx context.Context, tx *store.Tx) error { return tx.CreateOrganization(ctx, first) })
		same(t, first, ok(f.OrganizationByID(t.Context(), first.ID))(t))

		second := claviger.Organization{ID: claviger.OrganizationID(f.id("org")), Instance: true}
		conflict(t, f.try("", func(ctx context.Context, tx *store.Tx) error { return tx.CreateOrganization(ctx, second) }), "instance")
		conflict(t, f.try("", func(ctx context.Context, tx *store.Tx) error {
			return tx.CreateOrganization(ctx, claviger.Organization{ID: first.ID})
		}), "id")
		f.pass(time.Millisecond)
		f.tenant("second")
		f.do(func(ctx context.Context, tx *store.Tx) error {
			if n := ok(tx.CountOrganizations(ctx))(t); n != 2 {
				t.Errorf("%d organizations, want 2", n)
			}
			return nil
		})
		page := ok(f.Organizations(t.Context(), store.Page{Limit: 1}))(t)
		if len(page) != 1 || page[0].Name != "second" {
			t.Fatalf("first page: %+v", page)
		}
		page = ok(f.Organizations(t.Context(), store.Page{Limit: 1, After: string(page[0].ID)}))(t)
		same(t, []claviger.Organization{first}, page)
		_, err := f.OrganizationByID(t.Context(), "org_none")
		wants(t, err, store.ErrNotFound)
	})
}

func TestWorkspaces(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		a := f.tenant("a")
		same(t, a.workspace, ok(f.Workspace(t.Context(), a.scope, a.workspace.ID))(t))
		same(t, a.workspace, ok(f.WorkspaceByName(t.Context(), a.bound, "default"))(t))

		f.pass(time.Second)
		renamed := a.workspace
		renamed.Name, renamed.Canonical, renamed.Version, renamed.UpdatedAt = "Other", "other", 2, f.time()
		f.do(func(ctx context.Context, tx *store.Tx) error {
			got, err := tx.UpdateWorkspace(ctx, a.scope, a.workspace.ID, func(w claviger.Workspace) (claviger.Workspace, error) {
				w.Name, w.Canonical, w.Region, w.ID = "Other", "other", "elsewhere", "ws_stolen"
				return w, nil
			})
			same(t, renamed, got)
			return err
		})
		same(t, renamed, ok(f.Workspace(t.Context(), a.scope, a.workspace.ID))(t))

		clash := a.workspace
		clash.ID, clash.Canonical = claviger.WorkspaceID(f.id("ws")), "other"
		conflict(t, f.try("", func(ctx context.Context, tx *store.Tx) error { return tx.CreateWorkspace(ctx, a.scope, clash) }), "name")
		clash.Canonical, clash.Region = "x", "nowhere"
		if err := f.try("", func(ctx context.Context, tx *store.Tx) error { return tx.CreateWorkspace(ctx, a.scope, clash) }); !claviger.IsKind(err, claviger.KindInvalid) {
			t.Fatalf("unknown region: %v", err)
		}
	})
}

func TestDeleteWorkspace(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		a := f.tenant("a")
		c := a.connect(a.connection("one"))
		key := claviger.APIKey{ID: claviger.KeyID(f.id("key")), Organization: a.org.ID, Workspace: a.workspace.ID, Hash: []byte{0xab}}
		token := claviger.MintedToken{ID: claviger.TokenID(f.id("tok")), Organization: a.org.ID, Workspace: a.workspace.ID, ExpiresAt: f.time().Add(time.Hour)}
		f.do(func(ctx context.Context, tx *store.Tx) error {
			if err := tx.CreateToken(ctx, a.scope, token); err != nil {
				return err
			}
			return tx.CreateAPIKey(ctx, a.scope, key)
		})
		remove := func(ctx context.Context, tx *store.Tx) error { return tx.DeleteWorkspace(ctx, a.scope, a.workspace.ID) }
		conflict(t, f.try("", remove), "connections")
		ok(a.update(c.ID, func(c *claviger.Connection) { c.Status = claviger.StatusRevoked }))(t)
		feed := ok(f.Follow(t.Context()))(t)
		f.do(remove)
		_, err := f.Workspace(t.Context(), a.scope, a.workspace.ID)
		wants(t, err, store.ErrNotFound)
		if k := ok(f.APIKeyByHash(t.Context(), key.Hash))(t); !k.RevokedAt.Equal(f.time()) {
			t.Errorf("key revoked at %v, want %v", k.RevokedAt, f.time())
		}
		if k := ok(f.TokenByID(t.Context(), token.ID))(t); !k.RevokedAt.Equal(f.time()) {
			t.Errorf("token revoked at %v, want %v", k.RevokedAt, f.time())
		}
		announced(t, feed, "api_key ab", "token "+string(token.ID), "workspace "+string(a.workspace.ID))
		wants(t, f.try("", func(ctx context.Context, tx *store.Tx) error {
			key.ID, key.Hash = "key_late", []byte{1}
			return tx.CreateAPIKey(ctx, a.scope, key)
		}), store.ErrNotFound)
		wants(t, f.try(claviger.DefaultRegion, func(ctx context.Context, tx *store.Tx) error {
			return tx.CreateConnection(ctx, a.scope, a.connection("late"), nil)
		}), store.ErrNotFound)
	})
}

func TestUsers(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		a := f.tenant("a")
		u := claviger.User{
			ID: claviger.UserID(f.id("usr")), Organization: a.org.ID, Name: "Ann", Email: "ann@example.com",
			Role: claviger.RoleOwner, Version: 1, CreatedAt: f.time(), UpdatedAt: f.time(),
		}
		f.do(func(ctx context.Context, tx *store.Tx) error { return tx.CreateUser(ctx, a.scope, u) })
		same(t, u, ok(f.UserByID(t.Context(), u.ID))(t))
		same(t, []claviger.User{u}, ok(f.Users(t.Context(), a.scope, store.Page{}))(t))
		twin := u
		twin.ID = claviger.UserID(f.id("usr"))
		conflict(t, f.try("", func(ctx context.Context, tx *store.Tx) error { return tx.CreateUser(ctx, a.scope, twin) }), "email")
		f.do(func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.UpdateUser(ctx, a.scope, u.ID, func(u claviger.User) (claviger.User, error) {
				u.Role, u.Disabled = claviger.RoleViewer, true
				return u, nil
			})
			if err == nil && ok(tx.CountOwners(ctx, a.scope))(t) != 0 {
				t.Error("a viewer counts as an owner")
			}
			return err
		})
		u.Role, u.Disabled, u.Version = claviger.RoleViewer, true, 2
		same(t, u, ok(f.User(t.Context(), a.scope, u.ID))(t))
		key := claviger.APIKey{ID: claviger.KeyID(f.id("key")), Organization: a.org.ID, User: u.ID, Hash: []byte{7}}
		f.do(func(ctx context.Context, tx *store.Tx) error { return tx.CreateAPIKey(ctx, a.scope, key) })
		f.do(func(ctx context.Context, tx *store.Tx) error { return tx.DeleteUser(ctx, a.scope, u.ID) })
		_, err := f.User(t.Context(), a.scope, u.ID)
		wants(t, err, store.ErrNotFound)
		if k := ok(f.APIKeyByHash(t.Context(), []byte{7}))(t); k.RevokedAt.IsZero() {
			t.Error("the person's key still lives")
		}
	})
}

func TestApplications(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		a, b := f.tenant("a"), f.tenant("b")
		app := claviger.Application{
			ID: claviger.ApplicationID(f.id("app")), Organization: a.org.ID, Name: "app", ClientID: "fixed",
			SecretHash: []byte{0, 1, 0xff}, CreatedAt: f.time(),
		}
		f.do(func(ctx context.Context, tx *store.Tx) error { return tx.CreateApplication(ctx, a.scope, app) })
		same(t, app, ok(f.ApplicationByClientID(t.Context(), "fixed"))(t))
		same(t, app, ok(f.Application(t.Context(), a.scope, app.ID))(t))
		twin := app
		twin.ID, twin.Organization = claviger.ApplicationID(f.id("app")), b.org.ID
		conflict(t, f.try("", func(ctx context.Context, tx *store.Tx) error { return tx.CreateApplication(ctx, b.scope, twin) }), "clientId")
		token := claviger.MintedToken{ID: claviger.TokenID(f.id("tok")), Organization: a.org.ID, MintedBy: string(app.ID), ExpiresAt: f.time().Add(time.Hour), CreatedAt: f.time()}
		f.do(func(ctx context.Context, tx *store.Tx) error { return tx.CreateToken(ctx, a.scope, token) })
		f.do(func(ctx context.Context, tx *store.Tx) error { return tx.DeleteApplication(ctx, a.scope, app.ID) })
		if k := ok(f.TokenByID(t.Context(), token.ID))(t); k.RevokedAt.IsZero() {
			t.Error("the application's token still lives")
		}
	})
}

func TestAPIKeys(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		a := f.tenant("a")
		permissions, _ := claviger.PermissionsOf(claviger.ConnectionsRead, claviger.KeysRotate)
		key := claviger.APIKey{
			ID: claviger.KeyID(f.id("key")), Organization: a.org.ID, Workspace: a.workspace.ID, User: "usr_x", CreatedBy: "usr_y", Name: "ci",
			Hash: []byte{0, 9}, Hint: "abcd", Permissions: permissions,
			AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")},
			ExpiresAt:  f.time().Add(time.Hour), CreatedAt: f.time(),
		}
		f.do(func(ctx context.Context, tx *store.Tx) error { return tx.CreateAPIKey(ctx, a.scope, key) })
		same(t, key, ok(f.APIKeyByHash(t.Context(), key.Hash))(t))
		same(t, []claviger.APIKey{key}, ok(f.APIKeys(t.Context(), a.bound, store.Page{}))(t))
		used := f.time().Add(time.Minute)
		for _, at := range []time.Time{used, used.Add(-time.Hour)} {
			f.do(func(ctx context.Context, tx *store.Tx) error {
				return tx.TouchAPIKeys(ctx, map[claviger.KeyID]time.Time{key.ID: at})
			})
		}
		key.LastUsedAt = used
		same(t, key, ok(f.APIKey(t.Context(), a.scope, key.ID))(t))

		feed := ok(f.Follow(t.Context()))(t)
		f.do(func(ctx context.Context, tx *store.Tx) error { return tx.RevokeAPIKey(ctx, a.scope, key.ID) })
		key.RevokedAt = f.time()
		f.pass(time.Minute)
		f.do(func(ctx context.Context, tx *store.Tx) error { return tx.RevokeAPIKey(ctx, a.scope, key.ID) })
		same(t, key, ok(f.APIKey(t.Context(), a.scope, key.ID))(t))
		announced(t, feed, "api_key 0009")
		if left := ok(f.APIKeys(t.Context(), a.scope, store.Page{}))(t); len(left) != 0 {
			t.Errorf("the list has the revoked key: %v", left)
		}
	})
}

func TestTokens(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		a := f.tenant("a")
		mint := func(kind claviger.CallerKind, w claviger.WorkspaceID) claviger.MintedToken {
			k := claviger.MintedToken{
				ID: claviger.TokenID(f.id("tok")), Organization: a.org.ID, Workspace: w, Kind: kind, Subject: "s", MintedBy: "m",
				ExpiresAt: f.time().Add(15 * time.Minute), CreatedAt: f.time(),
			}
			f.do(func(ctx context.Context, tx *store.Tx) error { return tx.CreateToken(ctx, a.scope, k) })
			return k
		}
		operator, scoped, widget := mint(claviger.CallerOperator, ""), mint(claviger.CallerScoped, a.workspace.ID), mint(claviger.CallerWidget, a.workspace.ID)
		same(t, operator, ok(f.TokenByID(t.Context(), operator.ID))(t))
		feed := ok(f.Follow(t.Context()))(t)
		revoke := func(s claviger.Scope, before time.Time, kind claviger.CallerKind) (n int64) {
			f.do(func(ctx context.Context, tx *store.Tx) (err error) {
				n, err = tx.RevokeTokens(ctx, s, before, kind)
				return err
			})
			return n
		}
		if n := revoke(a.scope, f.time(), ""); n != 0 {
			t.Fatalf("%d tokens minted before they were minted", n)
		}
		later := f.time().Add(time.Second)
		if n := revoke(a.bound, later, claviger.CallerScoped); n != 1 {
			t.Fatalf("revoked %d scoped tokens, want 1", n)
		}
		if n := revoke(a.scope, later, ""); n != 2 {
			t.Fatalf("revoked %d more tokens, want 2", n)
		}
		announced(t, feed, "token "+string(scoped.ID), "token "+string(operator.ID), "token "+string(widget.ID))
		f.do(func(ctx context.Context, tx *store.Tx) error { return tx.RevokeToken(ctx, a.bound, scoped.ID) })
		f.pass(48 * time.Hour)
		f.do(func(ctx context.Context, tx *store.Tx) error {
			if n := ok(tx.PurgeExpired(ctx, f.time()))(t); n != 3 {
				t.Errorf("purged %d, want 3", n)
			}
			return nil
		})
		_, err := f.TokenByID(t.Context(), operator.ID)
		wants(t, err, store.ErrNotFound)
	})
}

func TestConnectors(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		a := f.tenant("a")
		put := func(document string) (version int) {
			f.do(func(ctx context.Context, tx *store.Tx) (err error) {
				version, err = tx.PutConnector(ctx, a.scope, "acme", []byte(document), "usr_x")
				return err
			})
			return version
		}
		if v := put(`{"a":1}`); v != 1 {
			t.Fatalf("first version %d", v)
		}
		if v := put(`{"a":2}`); v != 2 {
			t.Fatalf("second version %d", v)
		}
		newest := store.ConnectorRow{Organization: a.org.ID, Key: "acme", Version: 2, Document: []byte(`{"a":2}`), CreatedBy: "usr_x", CreatedAt: f.time()}
		same(t, newest, ok(f.Connector(t.Context(), a.bound, "acme", 0))(t))
		if old := ok(f.Connector(t.Context(), a.scope, "acme", 1))(t); string(old.Document) != `{"a":1}` {
			t.Fatalf("version 1 is %s", old.Document)
		}
		same(t, []store.ConnectorRow{newest}, ok(f.ConnectorRows(t.Context(), a.scope, store.Page{}))(t))

		c := a.connect(a.connection("one"))
		remove := func(ctx context.Context, tx *store.Tx) error { return tx.DeleteConnector(ctx, a.scope, "acme") }
		conflict(t, f.try("", remove), "connections")
		ok(f.Connector(t.Context(), a.scope, "acme", 0))(t)
		ok(a.update(c.ID, func(c *claviger.Connection) { c.Status = claviger.StatusRevoked }))(t)
		f.do(remove)
		wants(t, f.try("", remove), store.ErrNotFound)
		_, err := f.Connector(t.Context(), a.scope, "acme", 0)
		wants(t, err, store.ErrNotFound)
		if v := put(`{}`); v != 3 {
			t.Fatalf("version %d after a deletion, want 3", v)
		}
	})
}

func TestSecrets(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		a := f.tenant("a")
		put := func(path string) (m claviger.SecretMeta) {
			f.do(func(ctx context.Context, tx *store.Tx) (err error) {
				m, err = tx.PutSecret(ctx, a.scope, path, func(version int64) (claviger.Sealed, error) {
					return claviger.Sealed{byte(version)}, nil
				})
				return err
			})
			return m
		}
		first := put("shared/acme/key")
		f.pass(time.Second)
		second := put("shared/acme/key")
		if first.Version != 1 || second.Version != 2 || !second.CreatedAt.Equal(first.CreatedAt) || !second.UpdatedAt.Equal(f.time()) {
			t.Fatalf("versions %+v, %+v", first, second)
		}
		c := a.connect(a.connection("user"))
		second.UsedBy = []claviger.ConnectionID{c.ID}
		meta, sealed, err := f.Secret(t.Context(), a.bound, "shared/acme/key")
		same(t, second, ok(meta, err)(t))
		same(t, claviger.Sealed{2}, sealed)
		put("Shared/acme/key")
		same(t, []claviger.SecretMeta{second}, ok(f.Secrets(t.Context(), a.scope, "shared/", store.Page{}))(t))
		if all := ok(f.Secrets(t.Context(), a.scope, "", store.Page{}))(t); len(all) != 2 {
			t.Fatalf("%d secrets, want 2", len(all))
		}
		same(t, int64(2), ok(f.SealedSecrets(t.Context(), a.org.ID, "Shared/acme/key", 9))(t)[0].Version)
		reseal := func(version int64) error {
			return f.try("", func(ctx context.Context, tx *store.Tx) error {
				return tx.ResealSecret(ctx, a.scope, "shared/acme/key", version, claviger.Sealed("again"))
			})
		}
		wants(t, reseal(1), store.ErrStale)
		wants(t, reseal(2), nil)

		remove := func(ctx context.Context, tx *store.Tx) error { return tx.DeleteSecret(ctx, a.scope, "shared/acme/key") }
		f.do(remove)
		wants(t, f.try("", remove), store.ErrNotFound)
		_, _, err = f.Secret(t.Context(), a.scope, "shared/acme/key")
		wants(t, err, store.ErrNotFound)
		if third := put("shared/acme/key"); third.Version != 3 || !third.CreatedAt.Equal(f.time()) {
			t.Fatalf("after a deletion %+v, want version 3", third)
		}
	})
}

func TestKeysetsAndFacts(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		put := func(k claviger.Keyset, expect int64) error {
			return f.try("", func(ctx context.Context, tx *store.Tx) error { return tx.PutKeyset(ctx, k, expect) })
		}
		for _, organization := range []claviger.OrganizationID{"", "org_a", "org_b"} {
			wants(t, put(claviger.Keyset{Organization: organization, Wrapped: []byte{1}}, 0), nil)
		}
		conflict(t, put(claviger.Keyset{Organization: "org_a"}, 0), "organization")
		wants(t, put(claviger.Keyset{Organization: "org_a", Wrapped: []byte{2}}, 1), nil)
		wants(t, put(claviger.Keyset{Organization: "org_a", Wrapped: []byte{3}}, 1), store.ErrStale)
		want := claviger.Keyset{Organization: "org_a", Wrapped: []byte{2}, Version: 2, UpdatedAt: f.time()}
		same(t, want, ok(f.Keyset(t.Context(), "org_a"))(t))
		same(t, []claviger.Keyset{want}, ok(f.Keysets(t.Context(), "", 1))(t))
		same(t, int64(1), ok(f.Keyset(t.Context(), ""))(t).Version)

		fact := func(value string, mustBeNew bool) error {
			return f.try("", func(ctx context.Context, tx *store.Tx) error {
				return tx.PutFact(ctx, "deployment", []byte(value), mustBeNew)
			})
		}
		_, err := f.Fact(t.Context(), "deployment")
		wants(t, err, store.ErrNotFound)
		wants(t, fact("1", true), nil)
		conflict(t, fact("2", true), "name")
		same(t, []byte("1"), ok(f.Fact(t.Context(), "deployment"))(t))
		wants(t, fact("3", false), nil)
		same(t, []byte("3"), ok(f.Fact(t.Context(), "deployment"))(t))
	})
}

func TestIdempotency(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		request := store.Idempotent{Organization: "org_a", Caller: "key_a", Key: "k", RequestHash: []byte{1}}
		begin := func(i store.Idempotent) (store.Idempotent, bool) {
			t.Helper()
			existing, fresh, err := f.BeginIdempotent(t.Context(), i)
			return ok(existing, err)(t), fresh
		}
		if _, fresh := begin(request); !fresh {
			t.Fatal("a new key is not fresh")
		}
		running, fresh := begin(request)
		if fresh || running.Done || string(running.RequestHash) != "\x01" {
			t.Fatalf("a running request: %+v, fresh %v", running, fresh)
		}
		other := request
		other.Caller = "key_b"
		if _, fresh := begin(other); !fresh {
			t.Fatal("another caller's key is not its own")
		}
		wants(t, f.AbandonIdempotent(t.Context(), request), nil)
		if _, fresh := begin(request); !fresh {
			t.Fatal("an abandoned key is not free")
		}
		request.Status, request.Header, request.Body = 201, []byte("h"), []byte("b")
		wants(t, f.FinishIdempotent(t.Context(), request), nil)
		wants(t, f.FinishIdempotent(t.Context(), request), store.ErrNotFound)
		wants(t, f.AbandonIdempotent(t.Context(), request), nil)
		want := request
		want.Done, want.CreatedAt = true, f.time()
		got, _ := begin(request)
		same(t, want, got)
		f.pass(25 * time.Hour)
		if _, fresh := begin(request); !fresh {
			t.Fatal("a key of yesterday is not free")
		}
		request.Body = make([]byte, 1<<20)
		if err := f.FinishIdempotent(t.Context(), request); !claviger.IsKind(err, claviger.KindTooLarge) {
			t.Fatalf("a large answer: %v", err)
		}
	})
}
