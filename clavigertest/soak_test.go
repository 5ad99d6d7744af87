package clavigertest_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/oauthserver"
	"claviger/clavigertest/soak"
)

// gridRow is one line of the grid: how long the vendor takes to answer a refresh, and
// how often it is tried, on how many connections in turn.
type gridRow struct {
	latency             time.Duration
	rounds, connections int
}

// patience is how long a caller waits for a token.
const patience = 30 * time.Second

// firstLife is how long the first token of a connection lives: until the nodes have
// started, about.
const firstLife = 15 * time.Second

// tokenLife is how long the next ones live: a long run comes back to each connection, when
// all answers of the round before have come and the token has ended; a short one does not.
func tokenLife() time.Duration {
	if soak.Document() != "" {
		return 30 * time.Second
	}
	return time.Hour
}

// TestAbuse_071_072_CallersAtTheEndOfAToken lets callers of three nodes find a token
// expired, all at once and again and again, with vendors that are fast, slow, slower
// than a caller waits, and slower than any lease lasts.
func TestAbuse_071_072_CallersAtTheEndOfAToken(t *testing.T) {
	callers, fast, slow := 150, gridRow{10 * time.Millisecond, 4, 4}, []gridRow{{2 * time.Second, 2, 2}}
	if soak.Document() != "" {
		callers, fast = 1000, gridRow{10 * time.Millisecond, soak.Rounds(t, 4, 200), 40}
		slow = []gridRow{{12 * time.Second, soak.Rounds(t, 2, 20), 4}, {65 * time.Second, soak.Rounds(t, 1, 5), 2}, {5 * time.Minute, 1, 1}}
	}
	// Consent needs a browser's way through one server; then the nodes take over.
	x := newConsent(t, clavigertest.Options{Engine: clavigertest.PostgreSQL}, oauthserver.Policy{})
	var stages []*stage
	for _, row := range append([]gridRow{fast}, slow...) {
		stages = append(stages, newStage(t, x, row, callers))
	}
	x.Stop()
	nodes := startNodes(t, x)
	stages[0].run(t, nodes) // alone: its latencies are the nodes' own
	t.Run("slow", func(t *testing.T) {
		for _, s := range stages[1:] {
			t.Run(s.row.latency.String(), func(t *testing.T) {
				t.Parallel() // their callers wait most of the time
				s.run(t, nodes)
			})
		}
	})
	text := gridMarkdown(stages)
	t.Logf("\n%s", text)
	soak.Write(t, "callers", text)
}

// stage is one line of the grid at work: an organization with a vendor of its own.
type stage struct {
	row         gridRow
	callers     int
	key         string
	vendor      *oauthserver.Server
	connections []string

	refused  int             // callers that were told to come again
	answered []time.Duration // how long those that the vendor answered took
}

func newStage(t *testing.T, x *consent, row gridRow, callers int) *stage {
	t.Helper()
	made, err := x.Client(x.Key).CreateOrganization(t.Context(), api.CreateOrganization{Name: row.latency.String()})
	if err != nil {
		t.Fatal(err)
	}
	v := oauthserver.Start(t, oauthserver.Policy{Rotates: true, RevokeFamily: true, Lifetime: tokenLife()})
	own := &consent{Server: x.Server, t: t, vendor: v, api: x.Client(made.APIKey)}
	own.connector("acme")
	patient := bytes.Replace(vendorDocument(v, "acme"), []byte(`"scopes":`), []byte(`"refresh":{"rotates":true,"timeout":"330s"},"scopes":`), 1)
	if _, err := own.api.PutConnector(t.Context(), "acme", patient); err != nil {
		t.Fatal(err)
	}
	s := &stage{row: row, callers: callers, key: made.APIKey, vendor: v}
	for i := range row.connections {
		v.Next(oauthserver.Fault{Change: map[string]any{"expires_in": int(firstLife.Seconds())}})
		s.connections = append(s.connections, own.connect(fmt.Sprint(i)).ID)
	}
	return s
}

// startNodes starts three processes on the database of a server that has stopped.
func startNodes(t *testing.T, x *consent) []*clavigertest.Child {
	t.Helper()
	program := clavigertest.Build(t, "")
	authority := filepath.Join(t.TempDir(), "vendor.pem")
	if err := os.WriteFile(authority, pemOf(x.vendor.Certificate()), 0o600); err != nil {
		t.Fatal(err)
	}
	var nodes []*clavigertest.Child
	for range 3 {
		node := program.Serve(t, []string{
			"CLAVIGER_DATA=" + copyKey(t, x.Server), "CLAVIGER_DATABASE_URL=" + x.Settings.DatabaseURL, "CLAVIGER_PUBLIC_URL=" + x.URL,
			"CLAVIGER_EGRESS_ALLOW=127.0.0.1", "SSL_CERT_FILE=" + authority,
		})
		if node == nil {
			t.Fatal("a node did not start")
		}
		nodes = append(nodes, node)
	}
	return nodes
}

func pemOf(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// run does all rounds of the line.
func (s *stage) run(t *testing.T, nodes []*clavigertest.Child) {
	var transports []*http.Client
	for range nodes {
		transport := &http.Transport{MaxIdleConnsPerHost: s.callers}
		t.Cleanup(transport.CloseIdleConnections)
		transports = append(transports, &http.Client{Transport: transport, Timeout: 2 * patience})
	}
	for round := range s.rounds(t) {
		id := s.connections[round%len(s.connections)]
		s.awaitEnd(t, nodes[0], id)
		reached, hold := make(chan struct{}, 1), make(chan struct{})
		s.vendor.Next(oauthserver.Fault{Reached: reached, Hold: hold})
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			<-reached
			time.AfterFunc(s.row.latency, func() { close(hold) })
			<-hold
		}()
		s.wave(t, nodes, transports, id, s.row.latency > patience)
		if s.row.latency > patience {
			<-answered
			s.wave(t, nodes, transports, id, false)
		}
		rotations, reuses := s.vendor.Refreshed()
		if sent := s.asked(); rotations != round+1 || reuses != 0 || sent != round+1 {
			t.Fatalf("after round %d the vendor was asked %d times: %d new tokens, %d old ones", round+1, sent, rotations, reuses)
		}
	}
	if live := s.vendor.Live(); live != len(s.connections) {
		t.Errorf("%d refresh tokens are alive for %d connections", live, len(s.connections))
	}
}

// rounds counts up, and stops at the first that failed.
func (s *stage) rounds(t *testing.T) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for round := range s.row.rounds {
			if t.Failed() || !yield(round) {
				return
			}
		}
	}
}

// asked answers how many refreshes reached the vendor.
func (s *stage) asked() (n int) {
	for _, r := range s.vendor.Received("/token") {
		if r.Form.Get("grant_type") == "refresh_token" {
			n++
		}
	}
	return n
}

// awaitEnd waits until the connection's access token has ended. The nodes are processes
// with clocks of their own, which nobody can move.
func (s *stage) awaitEnd(t *testing.T, node *clavigertest.Child, id string) {
	t.Helper()
	conn, err := node.As(t).Client(s.key).Connection(t.Context(), id)
	if err != nil || conn.ExpiresAt == nil {
		t.Fatalf("%+v: %v", conn, err)
	}
	end := time.NewTimer(time.Until(*conn.ExpiresAt) + 10*time.Millisecond)
	defer end.Stop()
	select {
	case <-end.C:
	case <-t.Context().Done():
	}
}

// wave lets all callers ask at once, a third at each node. tooSlow: the vendor answers
// nobody in time.
func (s *stage) wave(t *testing.T, nodes []*clavigertest.Child, through []*http.Client, id string, tooSlow bool) {
	t.Helper()
	var mu sync.Mutex
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range s.callers {
		node := i % len(nodes)
		wg.Go(func() {
			<-start
			began := time.Now()
			status, code, err := s.ask(t, through[node], nodes[node].URL+proxy(id, "/userinfo"))
			took := time.Since(began)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case !tooSlow && status == http.StatusOK:
				s.answered = append(s.answered, took)
			case tooSlow && status == http.StatusGatewayTimeout && code == "refresh_in_progress" && took >= patience-time.Second:
				s.refused++
			default:
				t.Errorf("a caller saw %d %s after %s: %v", status, code, took, err)
			}
		})
	}
	close(start)
	wg.Wait()
}

// ask makes one call and answers its status and, of a refusal, the code.
func (s *stage) ask(t *testing.T, c *http.Client, address string) (status int, code string, err error) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	resp, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	a := clavigertest.Answer{Status: resp.StatusCode, Body: body}
	return a.Status, a.Fault().Code, err
}

// gridMarkdown is the grid as the page shows it.
func gridMarkdown(stages []*stage) string {
	var b strings.Builder
	b.WriteString("| the vendor takes | rounds | callers a round | refreshes at the vendor | answered | told to come again | p50 | p99 | longest |\n|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, s := range stages {
		slices.Sort(s.answered)
		at := func(share float64) time.Duration {
			if len(s.answered) == 0 {
				return 0
			}
			return s.answered[int(share*float64(len(s.answered)-1))].Round(time.Millisecond)
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d | %s | %s | %s |\n", s.row.latency, s.row.rounds, s.callers, s.asked(), len(s.answered), s.refused, at(.5), at(.99), at(1))
	}
	b.WriteString("\nThe times are those of the callers that the vendor answered, from the request to the end of the answer")
	b.WriteString("; of those who came again, from then on.\n")
	return b.String()
}
