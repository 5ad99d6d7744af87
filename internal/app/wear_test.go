package app

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"claviger/clavigertest/postgres"
)

// A key that has sealed as many values as it should, over all nodes and starts, is replaced
// by itself, by one node; what it sealed still opens, and what the next one seals opens on
// a node that has not heard of it.
func TestAbuse_195_AKeyThatHasSealedEnoughIsReplaced(t *testing.T) {
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			url := ""
			if engine == "postgres" {
				url = postgres.URL(t)
			}
			replaceWornKeys(t, url)
		})
	}
}

func replaceWornKeys(t *testing.T, url string) {
	const limit = 30
	v, data, folder := vendor(t), t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "acme.yaml"), []byte(document(v, "/a")), 0o600); err != nil {
		t.Fatal(err)
	}
	settings := func(c *Config) { c.ConnectorsDir, c.DatabaseURL, c.RotateSeals = folder, url, limit }
	c := Config{Settings: Settings{Data: data, EgressAllow: "127.0.0.1"}}
	settings(&c)
	first, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	key := first.ownersKey(t)
	w := &wear{T: t, key: key}
	old := w.connect(first, "old")
	w.seal(first, limit/3)
	if err := first.Close(context.Background()); err != nil { // its count outlives it
		t.Fatal(err)
	}

	one, two := open(t, data, settings), open(t, data, settings)
	w.sweep(one, two)
	if n := w.keys(one); n != 1 {
		t.Fatalf("%d keys before the limit", n)
	}
	w.seal(one, limit/3)
	w.seal(two, limit/3) // more than the limit together, no node alone
	w.sweep(one, two)
	if n := w.keys(one); n != 2 {
		t.Fatalf("%d keys after the limit", n)
	}
	fresh := w.connect(two, "fresh")
	for _, a := range []*App{one, two} {
		w.use(a, old)
		w.use(a, fresh)
	}
	w.sweep(one, two)
	if n := w.keys(two); n != 2 {
		t.Errorf("a fresh key was replaced: %d", n)
	}
	w.seal(two, limit)
	w.sweep(one, two)
	if n := w.keys(two); n != 3 {
		t.Errorf("%d keys after the second limit", n)
	}
	_, list := two.ask(t, key, "GET", "/v1/audit?verb=keys:rotate&actorKind=system&outcome=succeeded", nil)
	if entries, _ := list["data"].([]any); len(entries) != 2 {
		t.Errorf("%d entries: %v", len(entries), list)
	}
}

// wear uses a key up.
type wear struct {
	*testing.T
	key   string
	paths int
}

// seal stores n secrets.
func (w *wear) seal(a *App, n int) {
	w.Helper()
	for range n {
		w.paths++
		if status, got := a.ask(w.T, w.key, "PUT", fmt.Sprintf("/v1/secrets/shared/s%d", w.paths), map[string]string{"value": "x"}); status != 200 && status != 201 {
			w.Fatal(status, got)
		}
	}
}

func (w *wear) connect(a *App, name string) (id any) {
	w.Helper()
	in := connection("ak_right")
	in["name"] = name
	status, made := a.ask(w.T, w.key, "POST", "/v1/connections", in)
	if status != 201 {
		w.Fatal(status, made)
	}
	return made["id"]
}

func (w *wear) use(a *App, id any) {
	w.Helper()
	if status, got := a.ask(w.T, w.key, "POST", "/v1/actions/run", map[string]any{"actionIdentifier": "acme.get", "connectionId": id}); status != 200 || got["statusCode"] != 200.0 {
		w.Errorf("%d %v", status, got)
	}
}

// keys answers how many keys there are, as stored: a node hears of another's in a second.
func (w *wear) keys(a *App) int64 {
	w.Helper()
	k, err := a.db.Keyset(w.Context(), a.ledger.home)
	if err != nil {
		w.Fatal(err)
	}
	return k.Version
}

// sweep does on all nodes at once what each does every minute, twice: the first to count
// may have been too early to see what the others counted.
func (w *wear) sweep(nodes ...*App) {
	for range 2 {
		var wg sync.WaitGroup
		for _, a := range nodes {
			wg.Go(func() { a.Sweep(w.Context()) })
		}
		wg.Wait()
	}
}
