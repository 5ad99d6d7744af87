// Package clavigertest is the harness: the program's own App on real listeners of the
// loopback, with a database of its own, its logs kept and every address that it dialled
// written down. Tests speak to it as any user does, over HTTP and with the public
// client.
//
// Nothing in it stands for a part of the product: what is simulated is the world
// outside, by the packages acme and vendor. It is for tests alone, holds their secrets
// in plain strings and must never be linked into the program.
package clavigertest

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger"
	"claviger/clavigertest/postgres"
	"claviger/client"
	"claviger/internal/app"
	"claviger/internal/wire"
)

// Patience bounds every wait for what a test expects: nothing takes nearly as long, and
// on a slow, loaded machine nothing fails that was only late.
const Patience = 2 * time.Minute

// Engine is a kind of database.
type Engine string

// The engines.
const (
	SQLite     Engine = "sqlite"
	PostgreSQL Engine = "postgres"
)

// Engines runs f as a sub-test on each engine, both at once.
func Engines(t *testing.T, f func(t *testing.T, engine Engine)) {
	t.Helper()
	for _, engine := range []Engine{SQLite, PostgreSQL} {
		t.Run(string(engine), func(t *testing.T) {
			t.Parallel()
			f(t, engine)
		})
	}
}

// Options change what Start starts. The zero value is a server on SQLite with every
// setting at its default.
type Options struct {
	Engine      Engine
	DatabaseURL string // an existing database, for a second node or a second start; default: a new one
	Data        string // the data folder; default: a temporary one
	MasterKey   string // a key URL; default: a file in the data folder
	Previous    string // the key URL before, while the master key is replaced
	LedgerMode  string
	PublicURL   string // what browsers see; default: the address itself
	Localhost   bool   // browsers see http://localhost and the port: a host with a name
	EgressAllow string
	Secrets     string
	// ConnectorsDir is the operator's folder of connectors; default: none.
	ConnectorsDir string
	Now           func() time.Time
	Resolver      *net.Resolver
	RootCAs       *x509.CertPool
}

// Server is a running instance.
type Server struct {
	App      *app.App
	Settings app.Settings
	URL      string // of the API
	AdminURL string // of health, metrics and profiles
	Addr     string // host:port of the API
	Logs     *Log
	Dials    *Dials

	// Of the first organization; empty if the database was not new.
	Key, ClientID, ClientSecret string

	t        testing.TB
	servers  []*http.Server
	stopOnce sync.Once
}

// Start starts a server that stops when the test ends.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := open(t, o)
	if err != nil {
		t.Fatalf("the server did not start: %v", err)
	}
	return s
}

// TryStart is [Start] for a server that is expected to refuse; it answers the refusal,
// nil if it started after all.
func TryStart(t testing.TB, o Options) error {
	t.Helper()
	_, err := open(t, o)
	return err
}

func open(t testing.TB, o Options) (*Server, error) {
	t.Helper()
	s := &Server{t: t, Logs: &Log{}, Dials: &Dials{}, Settings: settings(t, o)}
	api, admin := listen(t), listen(t)
	s.Addr = api.Addr().String()
	s.URL, s.AdminURL = "http://"+s.Addr, "http://"+admin.Addr().String()
	s.Settings.Addr, s.Settings.AdminAddr = s.Addr, admin.Addr().String()
	if o.Localhost {
		_, port, _ := net.SplitHostPort(s.Addr)
		s.URL = "http://localhost:" + port
		s.Settings.PublicURL = s.URL
	}
	log := slog.New(slog.NewJSONHandler(s.Logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	a, err := app.Open(t.Context(), app.Config{
		Settings: s.Settings, RootCAs: o.RootCAs, Resolver: o.Resolver, OnDial: s.Dials.note, Now: o.Now, Log: log,
		LookupEnv: func(string) (string, bool) { return "", false },
	})
	if err != nil {
		_, _ = api.Close(), admin.Close()
		return nil, err
	}
	s.App = a
	s.servers = []*http.Server{wire.NewServer(a.Handler(), log), wire.NewServer(a.AdminHandler(), log)}
	go func() { _ = s.servers[0].Serve(api) }()
	go func() { _ = s.servers[1].Serve(admin) }()
	if first := a.FirstStart(); first != nil {
		s.ClientID = first.ClientID
		first.ClientSecret.Use(func(b []byte) { s.ClientSecret = string(b) })
		first.APIKey.Use(func(b []byte) { s.Key = string(b) })
	}
	t.Cleanup(s.Stop)
	return s, nil
}

func settings(t testing.TB, o Options) app.Settings {
	t.Helper()
	s := app.Settings{
		Data: o.Data, DatabaseURL: o.DatabaseURL, LedgerMode: o.LedgerMode, PublicURL: o.PublicURL, EgressAllow: o.EgressAllow, Secrets: o.Secrets,
		ConnectorsDir: o.ConnectorsDir,
	}
	if s.Data == "" {
		s.Data = t.TempDir()
	}
	if s.DatabaseURL == "" && o.Engine == PostgreSQL {
		s.DatabaseURL = postgres.URL(t)
	}
	if s.DatabaseURL == "" {
		s.DatabaseURL = "sqlite:" + filepath.Join(s.Data, "claviger.db")
	}
	if o.Previous != "" {
		s.MasterKeyPrevious = claviger.NewSecretString(o.Previous)
	}
	if o.MasterKey != "" {
		s.MasterKey = claviger.NewSecretString(o.MasterKey)
	}
	return s
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Stop stops the listeners and closes the App, flushing the ledger, as SIGTERM would.
// Further calls do nothing.
func (s *Server) Stop() {
	s.stopOnce.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		for _, server := range s.servers {
			if err := server.Shutdown(ctx); err != nil {
				s.t.Errorf("stopping a listener: %v", err)
			}
		}
		if err := s.App.Close(ctx); err != nil {
			s.t.Errorf("closing the app: %v", err)
		}
	})
}

// Options answers what a start on the same data folder, database and key needs.
func (s *Server) Options() Options {
	o := Options{
		Data: s.Settings.Data, DatabaseURL: s.Settings.DatabaseURL, EgressAllow: s.Settings.EgressAllow,
		LedgerMode: s.Settings.LedgerMode, Secrets: s.Settings.Secrets, ConnectorsDir: s.Settings.ConnectorsDir,
	}
	s.Settings.MasterKey.Use(func(b []byte) { o.MasterKey = string(b) })
	return o
}

// Client answers a client that shows the token.
func (s *Server) Client(token string) *client.Client {
	s.t.Helper()
	c, err := client.New(s.URL, token)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// DatabasePath answers the file of a server on SQLite.
func (s *Server) DatabasePath() string { return strings.TrimPrefix(s.Settings.DatabaseURL, "sqlite:") }

// Files answers the contents of every file in the data folder, by path.
func (s *Server) Files() map[string][]byte {
	s.t.Helper()
	out := map[string][]byte{}
	err := filepath.WalkDir(s.Settings.Data, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		out[path], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// Log keeps what a server logged.
type Log struct {
	mu   sync.Mutex
	text []byte
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	return len(p), nil
}

// String answers everything that was logged.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

// Dials writes down every address that a server's egress dialled.
type Dials struct {
	mu  sync.Mutex
	all []string
}

func (d *Dials) note(_, address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, address)
}

// All answers the addresses in order.
func (d *Dials) All() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.all)
}
