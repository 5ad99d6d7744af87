package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"claviger/api"
	"claviger/client"
)

// serverEnv is the setting of one claviger on loopback.
func (b *bench) serverEnv(addr, admin, folder, mode, database string) []string {
	env := []string{
		"CLAVIGER_ADDR=" + addr, "CLAVIGER_ADMIN_ADDR=" + admin, "CLAVIGER_DATA=" + folder,
		"CLAVIGER_EGRESS_ALLOW=" + b.upstream, "CLAVIGER_LEDGER_MODE=" + mode, "CLAVIGER_LOG_LEVEL=warn",
	}
	if database != "" {
		env = append(env, "CLAVIGER_DATABASE_URL="+database)
	}
	return env
}

// startClaviger starts an instance on an empty database and gives it connections.
func (b *bench) startClaviger(ctx context.Context, name, mode, database string, connections int) error {
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	admin, err := freeAddr()
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp(b.folder, "data-")
	if err != nil {
		return err
	}
	// Nothing of this shell's settings; the server refuses unknown ones.
	p, err := b.start(ctx, addr, b.serverEnv(addr, admin, folder, mode, database), b.program("claviger"), "serve")
	if err != nil {
		return err
	}
	key, err := firstKey(ctx, p)
	if err != nil {
		return err
	}
	t := &target{name: name, base: "http://" + addr, header: "Bearer " + key, pid: p.pid(), admin: "http://" + admin}
	if t.paths, err = b.seed(ctx, t.base, key, connections); err != nil {
		return err
	}
	b.targets = append(b.targets, t)
	return nil
}

// firstKey waits for the API key that the first start shows.
func firstKey(ctx context.Context, p *process) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	form := regexp.MustCompile(`clv_key_\w{49}`)
	key := ""
	err := p.until(ctx, func() bool {
		key = form.FindString(p.out.String())
		return key != ""
	})
	return key, err
}

const connector = `{
  "key": "workshop", "name": "Workshop", "kind": "http", "baseUrl": "http://%s", "allowedHosts": ["127.0.0.1"],
  "auth": [{
    "key": "key", "type": "apiKey", "label": "API key",
    "fields": [{"key": "apiKey", "label": "API key", "secret": true, "required": true}],
    "inject": [{"in": "header", "name": "X-Api-Key", "value": "${apiKey}"}],
    "test": {"method": "GET", "path": "/small", "expectStatus": [200]}, "permissions": "none"
  }]
}`

// seeders is how many connections are made at a time.
const seeders = 16

// seed makes connections and answers their paths.
func (b *bench) seed(ctx context.Context, base, key string, n int) ([]string, error) {
	c, err := client.New(base, key)
	if err != nil {
		return nil, err
	}
	if _, err := c.PutConnector(ctx, "workshop", fmt.Appendf(nil, connector, b.upstream)); err != nil {
		return nil, err
	}
	began := time.Now()
	paths := make([]string, n)
	err = inParallel(n, seeders, func(i int) error {
		unchecked := false
		conn, err := c.CreateConnection(ctx, api.CreateConnection{
			Connector: "workshop", AuthMethod: "key", Name: fmt.Sprintf("c%d", i), Validate: &unchecked,
			Credentials: map[string]string{"apiKey": "wk_" + rand.Text()},
		})
		paths[i] = "/v1/connections/" + conn.ID + "/proxy"
		return err
	})
	if n > 10_000 {
		fmt.Fprintf(os.Stderr, "made %d connections in %v\n", n, time.Since(began).Round(time.Second))
	}
	return paths, err
}

// inParallel calls f for 0 to n-1 from several goroutines and answers the first error.
func inParallel(n, workers int, f func(int) error) error {
	var wg sync.WaitGroup
	errs := make([]error, workers)
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n && errs[w] == nil; i += workers {
				errs[w] = f(i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// warm calls every connection of a target once, so that all are in memory as they
// are in a server that has run for a while.
func warm(ctx context.Context, t *target) error {
	h := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: seeders}}
	defer h.CloseIdleConnections()
	return inParallel(len(t.paths), seeders, func(i int) error {
		res, err := get(ctx, h, t, t.paths[i]+"/small")
		if err != nil {
			return err
		}
		defer res.Body.Close() //nolint:errcheck // it was only read
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answered %s (%s)", t.name, res.Status, res.Header.Get("Claviger-Error"))
		}
		return nil
	})
}

func get(ctx context.Context, h *http.Client, t *target, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.base+path, nil)
	if err != nil {
		return nil, err
	}
	if t.header != "" {
		req.Header.Set("Authorization", t.header)
	}
	return h.Do(req)
}

// startOnPostgres gives an instance an empty database of the cluster that
// CLAVIGER_TEST_POSTGRES names; without it there is nothing to measure.
func (b *bench) startOnPostgres(ctx context.Context, name, mode string) error {
	cluster := os.Getenv("CLAVIGER_TEST_POSTGRES")
	if cluster == "" {
		return nil
	}
	conn, err := pgx.Connect(ctx, cluster)
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // nothing is left to write
	database := "bench_" + mode + "_" + strings.ToLower(rand.Text()[:8])
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{database}.Sanitize()); err != nil {
		return err
	}
	u, err := url.Parse(cluster)
	if err != nil {
		return err
	}
	u.Path = "/" + database
	if err := b.startClaviger(ctx, name, mode, u.String(), 1000); err != nil {
		return err
	}
	var backend int
	if err := conn.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&backend); err != nil {
		return err
	}
	if f := statFields(backend); f != nil {
		_, err = fmt.Sscan(f[1], &b.targets[len(b.targets)-1].extra) // a backend's parent is the postmaster
	}
	return err
}
