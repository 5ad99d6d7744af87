package clavigertest_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"claviger/api"
	"claviger/clavigertest"
)

// copyKey answers a new data folder that holds the server's master key and nothing
// else, as a second machine would have it.
func copyKey(t *testing.T, s *clavigertest.Server) string {
	t.Helper()
	folder := t.TempDir()
	key, err := os.ReadFile(filepath.Join(s.Settings.Data, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "master.key"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	return folder
}

func TestRevocationReachesTheOtherNode(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		one := clavigertest.NewTwins(t, clavigertest.Options{Engine: engine})
		options := one.Options()
		if engine == clavigertest.PostgreSQL {
			options.Data = copyKey(t, one.Server)
		}
		c := &clock{at: time.Now()}
		options.Now = c.now
		two := clavigertest.Start(t, options)
		key, id := one.APIKey(t, one.A, api.CreateAPIKey{Name: "to be revoked"})
		use := func(s *clavigertest.Server, token string) int {
			return s.Do(call{Token: token, Method: "GET", Path: proxy(one.A.Connections[0], "/x")}).Status
		}
		if a, b := use(one.Server, key), use(two, key); a != 200 || b != 200 {
			t.Fatalf("before: %d and %d", a, b)
		}
		if _, err := one.Client(one.A.Owner).RevokeAPIKey(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if status := use(one.Server, key); status != 401 {
			t.Errorf("the node itself: %d", status)
		}
		c.move(5 * time.Second) // what it remembers is not believed for longer
		if status := use(two, key); status != 401 {
			t.Errorf("the other node: %d", status)
		}
		if _, err := one.Client(one.A.Owner).DisableConnection(t.Context(), one.A.Connections[0]); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the other node refuses the disabled connection", func() bool { return use(two, one.A.Owner) == 403 })
	})
}
