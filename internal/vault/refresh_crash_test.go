package vault_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"claviger"
	"claviger/clavigertest/oauthserver"
	"claviger/clavigertest/postgres"
	"claviger/internal/egress"
	"claviger/internal/gate"
	"claviger/internal/oauth"
	"claviger/internal/seal"
	"claviger/internal/store"
	"claviger/internal/vault"
)

// childVariable holds the order of a process that is to be killed: this very program,
// built with failpoints.
const childVariable = "CLAVIGER_REFRESH_CHILD"

// order is what a child needs to use one connection once.
type order struct {
	URL, Vendor, Spill   string
	MasterKey, Authority []byte
	Organization         claviger.OrganizationID
	Connection           claviger.ConnectionID
	Rotates              bool
	Grace, Lease, Moved  time.Duration
}

func TestMain(m *testing.M) {
	text, ok := os.LookupEnv(childVariable)
	if !ok {
		os.Exit(parent(m))
	}
	var o order
	err := json.Unmarshal([]byte(text), &o)
	if err == nil {
		err = o.run(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// folderVariable names the folder where the child is built.
const folderVariable = "CLAVIGER_REFRESH_FOLDER"

// parent runs the tests, and removes what they built.
func parent(m *testing.M) int {
	folder, err := os.MkdirTemp("", "refresh")
	if err == nil {
		err = os.Setenv(folderVariable, folder)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(folder) }()
	return m.Run()
}

// run uses the connection once, as a process of its own.
func (o order) run(ctx context.Context) error {
	now := func() time.Time { return time.Now().Add(o.Moved) }
	db, err := store.Open(ctx, store.Config{URL: o.URL, Now: now})
	if err != nil {
		return err
	}
	chain, err := seal.NewChain(claviger.NewSecret(make([]byte, 32)))
	if err != nil {
		return err
	}
	g, err := gate.Open(ctx, gate.Config{Store: db, Chain: chain})
	if err != nil {
		return err
	}
	kek, err := seal.LocalKEK(claviger.NewSecret(o.MasterKey))
	if err != nil {
		return err
	}
	v, err := vault.Open(ctx, vault.Config{Store: db, KEK: kek, Now: now})
	if err != nil {
		return err
	}
	allow, err := egress.ParseAllow("127.0.0.0/8")
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(o.Authority)
	rights, _ := claviger.PermissionsOf(claviger.ConnectionsRefresh, claviger.ConnectionsProxy)
	caller := claviger.Caller{Kind: claviger.CallerSystem, ID: "child", Scope: claviger.Authenticated(o.Organization, ""), Permissions: rights}
	err = v.KeepFresh(vault.Refresh{
		Gate: g, OAuth: &oauth.Client{Egress: egress.New(egress.Config{Allow: allow, RootCAs: roots}), Now: now, Random: rand.Reader},
		Caller: func(claviger.OrganizationID) claviger.Caller { return caller },
		Method: func(context.Context, claviger.Scope, *claviger.Connection) (*claviger.AuthMethod, error) {
			return o.method(), nil
		},
		Lease: o.Lease, Spill: o.Spill,
	})
	if err != nil {
		return err
	}
	conn, sealed, err := db.Connection(ctx, caller.Scope, o.Connection)
	if err != nil {
		return err
	}
	ticket, err := g.Admit(ctx, caller, claviger.ConnectionsProxy, conn.Resource(), "")
	if err != nil {
		return err
	}
	defer ticket.Done(gate.Ending{})
	_, err = v.Fresh(ctx, ticket, &conn, sealed)
	return errors.Join(err, v.Close(ctx))
}

func (o order) method() *claviger.AuthMethod {
	return &claviger.AuthMethod{Key: "oauth", Type: claviger.AuthOAuth2, OAuth: &claviger.OAuth{
		Grant: claviger.GrantAuthorizationCode, ClientAuth: claviger.ClientSecretBasic,
		Endpoints: claviger.OAuthEndpoints{Token: claviger.MustTemplate(o.Vendor + "/token")},
		Refresh:   claviger.OAuthRefresh{Rotates: o.Rotates, Grace: o.Grace},
	}}
}

// child is the program with failpoints, built once.
var child = sync.OnceValues(func() (string, error) {
	path := filepath.Join(os.Getenv(folderVariable), "child")
	out, err := exec.Command("go", "test", "-c", "-tags", "failpoints", "-o", path, "claviger/internal/vault").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("building the child: %w: %s", err, out)
	}
	return path, err
})

// crashLease is how long a dead process keeps its lease in these tests.
const crashLease = 500 * time.Millisecond

// spawn begins a child that uses the connection, to be killed at a failpoint.
func (s *stand) spawn(id claviger.ConnectionID, failpoint string) (*exec.Cmd, *bytes.Buffer) {
	s.t.Helper()
	return s.spawnWith(id, failpoint, "")
}

// spawnWith is spawn of a child with a spill folder.
func (s *stand) spawnWith(id claviger.ConnectionID, failpoint, spill string) (*exec.Cmd, *bytes.Buffer) {
	s.t.Helper()
	program, err := child()
	if err != nil {
		s.t.Fatal(err)
	}
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.server.Certificate().Raw})
	text, err := json.Marshal(order{
		URL: s.url, Vendor: s.server.URL, Spill: spill, MasterKey: s.masterKey, Authority: authority, Organization: s.caller.Scope.Organization(), Connection: id,
		Rotates: s.method.OAuth.Refresh.Rotates, Grace: s.method.OAuth.Refresh.Grace, Lease: crashLease, Moved: time.Duration(s.moved.Load()),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), childVariable+"="+string(text), "CLAVIGER_FAILPOINT="+failpoint)
	out := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	return cmd, out
}

// wasKilled fails the test unless a child that has ended was killed.
func wasKilled(t *testing.T, cmd *exec.Cmd, out *bytes.Buffer) {
	t.Helper()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("the child was not killed: %s\n%s", cmd.ProcessState, out)
	}
}

// later checks that what survived survives its next refresh too, and that no token was
// burnt on the way.
func (s *stand) later() {
	s.t.Helper()
	s.pass(2 * time.Hour)
	list, err := s.nodes[0].db.Connections(s.t.Context(), s.caller.Scope, store.ConnectionFilter{Status: claviger.StatusActive}, store.Page{Limit: 100})
	if err != nil {
		s.t.Fatal(err)
	}
	for i := range list {
		if g := s.nodes[0].grant(list[i].ID); g.State != store.GrantIdle {
			s.t.Errorf("left behind: %+v", g)
		}
		s.nodes[0].must(list[i].ID)
	}
	if _, reuses := s.server.Refreshed(); reuses > 0 && s.method.OAuth.Refresh.Grace == 0 {
		s.t.Errorf("%d tokens were used twice", reuses)
	}
}

// A holder that is paused for longer than its lease while the vendor answers: the next
// one sends nothing, and the answer of the first is stored when it wakes up.
func TestAbuse_238_PausedHolder(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		s := newStand(t, url, strict, 1, nil)
		id, _ := s.connect(time.Hour)
		n := s.nodes[0]
		s.pass(55 * time.Minute)
		conn, _ := n.row(id)
		s.method.OAuth.Refresh.Grace = 0
		reached, hold := make(chan struct{}, 1), make(chan struct{})
		s.server.Next(oauthserver.Fault{Reached: reached, Hold: hold})
		cmd, out := s.spawn(id, "")
		<-reached
		if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		paused := n.grant(id)
		n.settled(id) // takes the lease when it has run out
		if g := n.grant(id); g.Fence <= paused.Fence || g.State != store.GrantUncertain || s.sent() != 1 {
			t.Fatalf("another node: %+v after %d requests", g, s.sent())
		}
		if token := n.must(id); token != "at_first" {
			t.Fatalf("meanwhile: %q", token)
		}
		close(hold)
		if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if after, _ := n.row(id); after.Revision != conn.Revision+1 || after.LastError != nil {
			t.Fatalf("afterwards: revision %d, %+v", after.Revision, after.LastError)
		}
		s.pass(2 * time.Hour)
		n.must(id)
		if rotations, reuses := s.server.Refreshed(); rotations != 2 || reuses != 0 {
			t.Errorf("%d rotations, %d reuses", rotations, reuses)
		}
	})
}

// database answers another empty database of the engine.
func database(t *testing.T, url string) string {
	t.Helper()
	if strings.HasPrefix(url, "sqlite:") {
		return sqlite(t)
	}
	return postgres.URL(t)
}
