package vault_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"claviger"
	"claviger/clavigertest/oauthserver"
	"claviger/clavigertest/postgres"
	"claviger/internal/store"
	"claviger/internal/vault"
)

// failover is a way to a PostgreSQL that goes away in the middle of a commit, and is
// back a moment later. Whoever committed does not learn whether it took effect.
type failover struct {
	t      *testing.T
	url    string
	server string

	mu     sync.Mutex
	mark   []byte // in the transaction at whose commit it breaks; nil: never
	nth    int    // of the transactions with the mark, counted down
	lands  bool   // the commit takes effect
	down   bool
	broken chan struct{} // closed when it broke
	open   map[net.Conn]bool
}

// downtime is how long nobody answers after a break.
const downtime = 300 * time.Millisecond

func newFailover(t *testing.T, database string) *failover {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &failover{t: t, server: u.Host, broken: make(chan struct{}), open: map[net.Conn]bool{}}
	u.Host = l.Addr().String()
	f.url = u.String()
	t.Cleanup(func() { _ = l.Close(); f.cut() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f.carry(c)
		}
	}()
	return f
}

// breakAt arms it: the nth transaction that a text is a parameter of breaks at its
// commit.
func (f *failover) breakAt(parameter string, nth int, lands bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mark, f.nth, f.lands = append([]byte{0, 0, 0, byte(len(parameter))}, parameter...), nth, lands
}

// keep remembers a connection, unless nobody answers now.
func (f *failover) keep(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open[c] = true
	return !f.down
}

// cut breaks every connection.
func (f *failover) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.open {
		_ = c.Close()
	}
	clear(f.open)
}

// sever lets nobody through until heal.
func (f *failover) sever() {
	f.mu.Lock()
	f.down = true
	f.mu.Unlock()
	f.cut()
}

func (f *failover) heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = false
}

// carry carries one connection's bytes.
func (f *failover) carry(client net.Conn) {
	defer client.Close() //nolint:errcheck // it is at its end
	server, err := net.Dial("tcp", f.server)
	if err != nil {
		return
	}
	defer server.Close() //nolint:errcheck // it is at its end
	if !f.keep(client) || !f.keep(server) {
		return
	}
	answers := &answers{to: client, committed: make(chan struct{})}
	go func() {
		_, _ = io.Copy(answers, server)
		_ = client.Close()
	}()
	marked := false
	chunk := make([]byte, 64<<10)
	for {
		n, err := client.Read(chunk)
		if err != nil {
			return
		}
		if bytes.Contains(chunk[:n], []byte("begin")) {
			marked = false
		}
		marked = marked || f.has(chunk[:n])
		if marked && bytes.Contains(chunk[:n], []byte("commit\x00")) && f.strikes() {
			f.strike(server, chunk[:n], answers)
			return
		}
		if _, err := server.Write(chunk[:n]); err != nil {
			return
		}
	}
}

func (f *failover) has(chunk []byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mark != nil && bytes.Contains(chunk, f.mark)
}

// strikes counts a transaction down and reports whether it is the one.
func (f *failover) strikes() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nth--
	return f.nth == 0
}

// strike lets the commit happen or not, tells nobody, and goes down for a while.
func (f *failover) strike(server io.Writer, commit []byte, a *answers) {
	f.mu.Lock()
	f.down, f.mark = true, nil
	lands := f.lands
	f.mu.Unlock()
	defer close(f.broken)
	if lands {
		a.hush()
		_, _ = server.Write(commit)
		<-a.committed
	}
	f.cut()
	time.AfterFunc(downtime, f.heal)
}

// answers hands on what the server says, until it is hushed.
type answers struct {
	to        io.Writer
	committed chan struct{} // closed when the server has committed, unheard
	mu        sync.Mutex
	hushed    bool
}

func (a *answers) hush() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hushed = true
}

// Write implements io.Writer.
func (a *answers) Write(b []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.hushed {
		return a.to.Write(b)
	}
	close(a.committed) // the commit's is the only answer that is due
	return len(b), io.EOF
}

// Wherever the database fails over, whether the commit took effect or not: the vendor is
// sent the token once, and the connection is not given up.
func TestAbuse_100_TheDatabaseFailsOverAtACommit(t *testing.T) {
	for _, c := range []struct {
		step, parameter string
		nth             int
	}{
		{"the lease", "idle", 1},
		{"the intent", "intent", 1},
		{"the mark that the token leaves", "sending", 1},
		{"the journal", "journaled", 1},
		{"the new tokens", "idle", 2},
	} {
		for outcome, lands := range map[string]bool{"done": true, "undone": false} {
			t.Run(c.step+" "+outcome, func(t *testing.T) {
				t.Parallel()
				way := newFailover(t, postgres.URL(t))
				s := newStand(t, way.url, oauthserver.Policy{Rotates: true, RevokeFamily: true}, 0, nil)
				n := s.open(vault.Refresh{Lease: time.Second})
				s.found()
				id, _ := s.connect(time.Hour)
				s.pass(2 * time.Hour)
				conn, sealed := n.row(id)
				way.breakAt(c.parameter, c.nth, lands)
				if token := n.insist(conn, sealed); token == "at_first" {
					t.Error("the old token was used")
				}
				select {
				case <-way.broken:
				default:
					t.Fatal("the database did not fail over")
				}
				if rotations, reuses := s.server.Refreshed(); rotations != 1 || reuses != 0 || s.sent() != 1 {
					t.Errorf("%d rotations, %d reuses, %d requests", rotations, reuses, s.sent())
				}
				if s.announced(claviger.EventConnectionReauthorize) || s.server.Live() != 1 {
					t.Errorf("announced: %v; %d refresh tokens are alive", s.events, s.server.Live())
				}
				s.pass(2 * time.Hour)
				n.must(id)
			})
		}
	}
}

// The holder is cut off from the database for longer than its lease while the vendor answers.
// The other node takes the lease and sends nothing; when the way is open again, the
// answer is stored under a lease of its own.
func TestAbuse_238_PartitionedHolder(t *testing.T) {
	direct := postgres.URL(t)
	way := newFailover(t, direct)
	s := newStand(t, direct, strict, 0, nil)
	two := s.open(vault.Refresh{Lease: crashLease})
	s.found()
	s.url = way.url
	one := s.open(vault.Refresh{Lease: crashLease})
	id, _ := s.connect(time.Hour)
	s.pass(55 * time.Minute)
	conn, _ := two.row(id)
	reached, hold := make(chan struct{}), make(chan struct{})
	s.server.Next(oauthserver.Fault{Reached: reached, Hold: hold})
	if token := one.must(id); token != "at_first" {
		t.Fatalf("due: %q", token)
	}
	<-reached
	held := two.grant(id)
	way.sever()
	for range 3 {
		two.settled(id) // the first of them waits for the end of the lease
	}
	if g := two.grant(id); g.Fence <= held.Fence || g.State != store.GrantUncertain || s.sent() != 1 {
		t.Fatalf("the other node: %+v after %d requests", g, s.sent())
	}
	close(hold)
	way.heal()
	one.settled(id)
	if after, _ := two.row(id); after.Revision != conn.Revision+1 || after.LastError != nil {
		t.Errorf("afterwards: revision %d, %+v", after.Revision, after.LastError)
	}
	s.pass(2 * time.Hour)
	one.must(id)
	if rotations, reuses := s.server.Refreshed(); rotations != 2 || reuses != 0 {
		t.Errorf("%d rotations, %d reuses", rotations, reuses)
	}
}

// insist uses a row again and again while the database cannot answer, as callers do.
func (n *node) insist(conn claviger.Connection, sealed claviger.Sealed) string {
	n.t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	deadline := time.After(2 * time.Minute)
	for {
		token, err := n.useRow(n.t.Context(), conn, sealed)
		if err == nil {
			return token
		}
		var e *claviger.Error
		if errors.As(err, &e) && e.Kind == claviger.KindReauthorize || code(err) == "refresh_uncertain" {
			n.t.Fatalf("given up: %v", err)
		}
		select {
		case <-again.C:
		case <-deadline:
			n.t.Fatalf("still: %v", err)
		}
	}
}

// An answer is lost, and the repeat that the vendor would bear does not get through. The
// doubt stays: within the grace it is repeated, after it never.
func TestAbuse_076_TheRepeatThatCannotBeSent(t *testing.T) {
	for _, c := range []struct {
		name   string
		passes time.Duration
		code   string
		sent   int
	}{
		{"within the grace", 10 * time.Second, "", 2},
		{"after it", time.Minute, "reauthorization_required", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStand(t, sqlite(t), oauthserver.Policy{Rotates: true, RevokeFamily: true, Grace: 30 * time.Second}, 1, nil)
			id, _ := s.connect(time.Hour)
			n := s.nodes[0]
			s.pass(2 * time.Hour)
			reached, hold := make(chan struct{}), make(chan struct{})
			s.server.Next(oauthserver.Fault{Reached: reached, Hold: hold, Reset: true})
			used := make(chan error)
			go func() {
				_, err := n.use(t.Context(), id)
				used <- err
			}()
			<-reached
			s.server.RefuseConnections(1)
			close(hold)
			if err := <-used; err == nil || code(err) == "reauthorization_required" {
				t.Fatalf("neither the answer nor the repeat got through: %v", err)
			}
			s.pass(c.passes)
			if _, err := n.use(t.Context(), id); code(err) != c.code || s.sent() != c.sent {
				t.Errorf("%v after %d requests", err, s.sent())
			}
			if s.server.Live() != 1 {
				t.Errorf("%d refresh tokens are alive", s.server.Live())
			}
		})
	}
}
