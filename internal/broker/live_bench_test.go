package broker

import (
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
	"testing/fstest"
	"time"

	"claviger"
	"claviger/internal/catalog"
	"claviger/internal/store"
)

const benchmarkConnector = `
key: acme
name: Acme CRM
kind: http
baseUrl: https://api.acme.example/v2
allowedHosts: [api.acme.example]
headers: {X-Version: "7"}
auth:
  - key: key
    type: apiKey
    fields:
      - {key: apiKey, label: API key, secret: true, required: true}
    inject:
      - {in: header, name: X-API-Key, value: "${apiKey}"}
    test: {method: GET, path: /me, expectStatus: [200]}
    permissions: none
`

// BenchmarkLive answers what a connection that is kept ready costs: the time to make
// it so out of its row, and the memory that it holds from then on.
func BenchmarkLive(b *testing.B) {
	const size = 2000
	db, scope, ids := filled(b, size)
	kept, err := catalog.Load(fstest.MapFS{"acme.yaml": {Data: []byte(benchmarkConnector)}}, catalog.Options{})
	if err != nil {
		b.Fatal(err)
	}
	caller := claviger.Caller{Scope: scope}
	var bytes, objects float64
	for b.Loop() {
		var before, after runtime.MemStats
		broker := New(Config{Store: db, Catalog: kept})
		runtime.GC()
		runtime.ReadMemStats(&before)
		for _, id := range ids {
			_, generation, _ := broker.lives.get(id)
			l, err := broker.load(b.Context(), caller, id)
			if err != nil {
				b.Fatal(err)
			}
			broker.lives.put(id, l, generation)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(broker)
		bytes = float64(after.HeapAlloc-before.HeapAlloc) / size
		objects = float64(after.HeapObjects-before.HeapObjects) / size
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/size, "ns/connection")
	b.ReportMetric(bytes, "B/connection")
	b.ReportMetric(objects, "objects/connection")
}

// filled answers a database with connections of one workspace.
func filled(b *testing.B, size int) (*store.DB, claviger.Scope, []claviger.ConnectionID) {
	b.Helper()
	db, err := store.Open(b.Context(), store.Config{URL: "sqlite:" + filepath.Join(b.TempDir(), "live.db")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	now := time.Now()
	fresh := func(prefix string) string {
		id, err := claviger.NewID(prefix, now, rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		return id
	}
	org, ws := claviger.OrganizationID(fresh(claviger.PrefixOrganization)), claviger.WorkspaceID(fresh(claviger.PrefixWorkspace))
	scope := claviger.Authenticated(org, "")
	ids := make([]claviger.ConnectionID, size)
	for i := range ids {
		ids[i] = claviger.ConnectionID(fresh(claviger.PrefixConnection))
	}
	err = db.InTx(b.Context(), "", func(tx *store.Tx) error {
		if err := tx.CreateOrganization(b.Context(), claviger.Organization{ID: org, Name: "a", CreatedAt: now}); err != nil {
			return err
		}
		err := tx.CreateWorkspace(b.Context(), scope, claviger.Workspace{
			ID: ws, Organization: org, Name: "default", Canonical: "default", Region: claviger.DefaultRegion, Version: 1, CreatedAt: now, UpdatedAt: now,
		})
		if err != nil {
			return err
		}
		return create(b.Context(), tx, scope, org, ws, ids)
	})
	if err != nil {
		b.Fatal(err)
	}
	return db, scope, ids
}

func create(ctx context.Context, tx *store.Tx, scope claviger.Scope, org claviger.OrganizationID, ws claviger.WorkspaceID, ids []claviger.ConnectionID) error {
	now := time.Now()
	for i, id := range ids {
		c := claviger.Connection{
			ID: id, Organization: org, Workspace: ws, Owner: "usr_01kafxtbqje8ybgwwnv2hprdhv", Connector: "acme", ConnectorVersion: 1, AuthMethod: "key",
			Name: fmt.Sprintf("connection %06d", i), Usage: claviger.UsageAPI, Visibility: claviger.VisibilityWorkspace, Status: claviger.StatusActive,
			Health: claviger.HealthHealthy, SecretKeys: []string{"apiKey"}, Revision: 1, Destination: "acme https://api.acme.example", Version: 1,
			CreatedAt: now, UpdatedAt: now, LastCheckedAt: now,
		}
		if err := tx.CreateConnection(ctx, scope, c, make(claviger.Sealed, 120)); err != nil {
			return err
		}
	}
	return nil
}
