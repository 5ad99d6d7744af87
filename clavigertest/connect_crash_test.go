package clavigertest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/oauthserver"
	"claviger/clavigertest/soak"
	"claviger/client"
)

// fate is what became of an attempt to connect whose process was killed.
type fate string

// The fates. Tokens of an attempt that expired were never issued, or are revoked at the
// vendor. Those that are lost live: nobody but the dead process has seen them.
const (
	completed fate = "completed"
	expired   fate = "expired"
	lostFate  fate = "tokens lost"
)

// flowPlace is where a process is killed, whether the vendor has issued tokens by then,
// and what becomes of the attempt: if somebody comes back for it, and if nobody does.
type flowPlace struct {
	at          string
	issued      bool
	again, late fate
}

// The places that are no marks in the source: how much of the vendor's answer has left.
const (
	flowCommit = "after the vendor's commit, before its answer"
	flowHead   = "in the head of the vendor's answer"
	flowBody   = "in the body of the vendor's answer"
)

var flowDuring = map[string]int{flowCommit: 0, flowHead: 20, flowBody: -20}

// codePlaces are those of a code that a browser brings, in the order that it passes them.
var codePlaces = []flowPlace{
	{"connect.claim.before", false, completed, expired},
	{"connect.claim.after", false, expired, expired},
	{"connect.exchange.before", false, expired, expired},
	{flowCommit, true, lostFate, lostFate},
	{flowHead, true, lostFate, lostFate},
	{flowBody, true, lostFate, lostFate},
	{"connect.exchange.after", true, lostFate, lostFate},
	{"connect.journal.before", true, lostFate, lostFate},
	{"connect.journal.after", true, completed, expired},
	{"connect.keep.before", true, completed, expired},
	{"connect.keep.after", true, expired, expired}, // the finish code went with the process
	{"connect.finish.before", true, completed, expired},
	{"connect.finish.inside", true, completed, expired},
	{"connect.finish.after", true, completed, completed},
}

// devicePlaces are those of a device flow, which a job passes. Another process takes the
// job up within seconds.
var devicePlaces = []flowPlace{
	{"connect.poll.before", false, completed, expired},
	{flowCommit, true, lostFate, lostFate},
	{flowBody, true, lostFate, lostFate},
	{"connect.poll.after", true, lostFate, lostFate},
	{"connect.journal.before", true, lostFate, lostFate},
	{"connect.journal.after", true, completed, expired},
	{"connect.keep.before", true, completed, expired},
	{"connect.keep.after", true, completed, expired},
	{"connect.finish.before", true, completed, expired},
	{"connect.finish.after", true, completed, completed},
}

// flowWorld is a database on which processes are killed, and the vendor, which is not.
type flowWorld struct {
	*revoker
	device   bool
	data     string
	env      []string
	attempts []*flowAttempt
}

// flowAttempt is one connection that was begun by a process that died.
type flowAttempt struct {
	flowPlace
	conn    api.Connection
	browser *browser
	back    string // what the browser brought back, as path and query
	code    string // that was shown before the end; empty if none was
}

// fate is what becomes of the attempt.
func (p flowPlace) fate(late bool) fate {
	if late {
		return p.late
	}
	return p.again
}

// flowURL is what browsers see. Their cookies do not tell ports apart.
const flowURL = "http://127.0.0.1:9"

func newFlowWorld(t *testing.T, engine clavigertest.Engine, device bool) *flowWorld {
	t.Helper()
	c := &clock{at: time.Now()}
	o := clavigertest.Options{Engine: engine, Now: c.now, PublicURL: flowURL, Data: filepath.Join(t.TempDir(), "data")}
	policy := oauthserver.Policy{Rotates: true, RevokeFamily: true, Lifetime: 100 * time.Hour}
	w := &flowWorld{revoker: &revoker{clock: c}, device: device, data: o.Data}
	if device {
		w.consent = newGrant(t, o, policy, deviceGrant)
		w.register()
	} else {
		w.consent = newConsent(t, o, policy)
	}
	authority := filepath.Join(t.TempDir(), "vendor.pem")
	if err := os.WriteFile(authority, pemOf(w.vendor.Certificate()), 0o600); err != nil {
		t.Fatal(err)
	}
	w.env = []string{
		"CLAVIGER_DATA=" + w.data, "CLAVIGER_DATABASE_URL=" + w.Settings.DatabaseURL, "CLAVIGER_PUBLIC_URL=" + flowURL,
		"CLAVIGER_EGRESS_ALLOW=127.0.0.1", "SSL_CERT_FILE=" + authority,
	}
	return w
}

// local answers the path and query of an address.
func local(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.RequestURI()
}

// on starts a process that dies at a mark, "" for none, and makes it the world's server.
func (w *flowWorld) on(t *testing.T, program clavigertest.Program, mark string) *clavigertest.Child {
	t.Helper()
	child := program.Serve(t, append(slices.Clone(w.env), "CLAVIGER_FAILPOINT="+mark))
	if child == nil {
		t.Fatalf("the server for %s did not start", mark)
	}
	key := w.Key
	w.Server = child.As(t)
	w.Settings.Data, w.Settings.DatabaseURL = w.data, w.database()
	w.Key, w.api = key, w.Server.Client(key)
	return child
}

// database answers the address of the database of all the world's servers.
func (w *flowWorld) database() string {
	return strings.TrimPrefix(w.env[1], "CLAVIGER_DATABASE_URL=")
}

// kill begins a connection in a process of its own that dies at the place.
func (w *flowWorld) kill(t *testing.T, program clavigertest.Program, p flowPlace) {
	t.Helper()
	part, during := flowDuring[p.at]
	mark := p.at
	if during {
		mark = "none"
	}
	before := w.vendor.Live()
	child := w.on(t, program, mark)
	if w.device {
		w.vendor.Next(oauthserver.Fault{Change: map[string]any{"interval": 1}})
	}
	a := &flowAttempt{flowPlace: p, conn: w.begin(p.at), browser: w.browser()}
	w.attempts = append(w.attempts, a)
	if !w.device {
		a.back = local(t, w.callback(a.browser.leave(local(t, a.conn.AuthorizeURL))))
	}
	reached, hold := make(chan struct{}, 1), make(chan struct{})
	if during {
		w.vendor.Next(oauthserver.Fault{Stall: part, Reached: reached, Hold: hold})
	}
	ended := make(chan struct{})
	go func() { defer close(ended); w.walk(a) }()
	if during {
		<-reached
		child.Kill()
	}
	select {
	case <-child.Ended():
	case <-time.After(longest):
		t.Fatalf("nobody passed %s: nothing was proven about it", p.at)
	}
	close(hold)
	<-ended
	if issued := w.vendor.Live() - before; issued > 1 || (issued == 1) != p.issued {
		t.Fatalf("%s: %d grants were made", p.at, issued)
	}
}

// walk goes as far as the process lives: the callback, and the finish.
func (w *flowWorld) walk(a *flowAttempt) {
	if w.device {
		return
	}
	res, err := a.browser.http.Get(a.browser.base + a.back)
	if err != nil {
		return
	}
	defer res.Body.Close() //nolint:errcheck // it was read whole
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return
	}
	a.code = shownCode(w.t, page{Status: res.StatusCode, Body: string(text)})
	_, _ = w.api.FinishConnection(w.t.Context(), a.conn.ID, a.code)
}

// revive starts the server in this process, at a later time.
func (w *flowWorld) revive(t *testing.T, data string, later time.Duration) {
	t.Helper()
	now := time.Now().Add(later)
	w.clock.move(now.Sub(w.clock.now()))
	key := w.Key
	w.Server = clavigertest.Start(t, clavigertest.Options{
		Data: data, DatabaseURL: w.database(), PublicURL: flowURL,
		EgressAllow: "127.0.0.1", RootCAs: w.vendor.Roots(), Now: w.clock.now,
	})
	w.Key, w.api = key, w.Client(key)
}

// comeBack does what a person does who finds the page gone, and the application.
func (w *flowWorld) comeBack(t *testing.T, a *flowAttempt) {
	t.Helper()
	if w.device {
		return
	}
	a.browser.base = w.URL
	if p := a.browser.get(a.back); p.Status == http.StatusOK {
		if a.again != completed || a.code != "" {
			t.Errorf("%s: the page was shown again", a.at)
		}
		a.code = shownCode(t, p)
		if again := a.browser.get(a.back); again.Status != http.StatusBadRequest {
			t.Errorf("%s: and once more: %d", a.at, again.Status)
		}
	}
	if a.code == "" {
		return
	}
	_, err := w.api.FinishConnection(t.Context(), a.conn.ID, a.code)
	if (err == nil) != (a.again == completed && a.at != "connect.finish.after") {
		t.Errorf("%s: finishing: %v", a.at, err)
	}
}

// unsettled counts the flows that are not over, or hold something.
func (w *flowWorld) unsettled(t *testing.T) (n int) {
	t.Helper()
	row := database(t, w.Server).QueryRowContext(t.Context(), "SELECT COUNT(*) FROM connect_flows WHERE status NOT IN ('completed', 'failed', 'expired') OR sealed IS NOT NULL")
	if err := row.Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func (w *flowWorld) status(t *testing.T, id string) string {
	t.Helper()
	conn, err := w.api.Connection(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return conn.Status
}

// settle lets everybody come back, or nobody, and checks what is left: what is connected
// works, what is not is revoked, and nothing lives that somebody could know of.
func (w *flowWorld) settle(t *testing.T, late bool) {
	t.Helper()
	if late {
		w.revive(t, w.data, 90*time.Minute)
	} else {
		w.revive(t, w.data, 2*time.Minute)
		for _, a := range w.attempts {
			w.comeBack(t, a)
		}
		for _, a := range w.attempts {
			if a.again == completed {
				eventually(t, a.at+" completes", func() bool { w.App.Sweep(t.Context()); return w.status(t, a.conn.ID) == "active" })
			}
		}
		w.later(w.clock, 90*time.Minute)
	}
	eventually(t, "every flow is over", func() bool { w.App.Sweep(t.Context()); return w.unsettled(t) == 0 })
	alive := 0
	for _, a := range w.attempts {
		want, status := a.fate(late), w.status(t, a.conn.ID)
		if (status == "active") != (want == completed) || status != "active" && status != "pending" {
			t.Errorf("%s: the connection is %s, it should have %s", a.at, status, want)
		}
		if want == completed {
			w.works(a.conn.ID)
		}
		if want != expired {
			alive++
		}
	}
	if live := w.vendor.Live(); live != alive {
		t.Errorf("%d grants are alive at the vendor, %d are known of or were lost", live, alive)
	}
	w.onceEach(t)
}

// onceEach checks that no code was sent twice and no connection made twice.
func (w *flowWorld) onceEach(t *testing.T) {
	t.Helper()
	sent := map[string]bool{}
	for _, r := range w.vendor.Received("/token") {
		code := r.Form.Get("code")
		if code != "" && sent[code] {
			t.Error("a code was sent twice")
		}
		sent[code] = true
	}
	n := 0
	for _, err := range w.api.Connections(t.Context(), client.ConnectionQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != len(w.attempts) {
		t.Errorf("%d connections of %d attempts", n, len(w.attempts))
	}
}

// A process is killed before and after each step of redeeming a code or of a device's
// answer. The connection completes, or the flow expires with its tokens revoked; the code
// is never sent again, and only what died with the process can live on unknown.
func TestAbuse_229_KilledWhileConnecting(t *testing.T) {
	for _, mark := range failpoints(t, "connect.") {
		if !slices.ContainsFunc(slices.Concat(codePlaces, devicePlaces), func(p flowPlace) bool { return p.at == mark }) {
			t.Errorf("nobody is killed at %s", mark)
		}
	}
	program := clavigertest.Build(t, "failpoints")
	count := &flowTally{counts: map[flowCell]map[fate]int{}}
	rounds := soak.Rounds(t, 1, flowRounds)
	t.Run("on", func(t *testing.T) {
		clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
			for _, late := range []bool{false, true} {
				t.Run(fmt.Sprintf("code, late %t", late), func(t *testing.T) {
					t.Parallel()
					for round := range rounds {
						t.Run(fmt.Sprint(round), func(t *testing.T) { killWithCode(t, program, engine, late, count) })
					}
				})
			}
			for i, p := range devicePlaces {
				t.Run("device, "+p.at, func(t *testing.T) {
					t.Parallel()
					for round := range rounds {
						late := (i+round)%2 == 0 == (engine == clavigertest.SQLite)
						t.Run(fmt.Sprintf("%d, late %t", round, late), func(t *testing.T) { killWithDevice(t, program, engine, p, late, count) })
					}
				})
			}
		})
	})
	text := count.markdown()
	t.Logf("\n%s", text)
	soak.Write(t, "connecting", text)
}

func killWithCode(t *testing.T, program clavigertest.Program, engine clavigertest.Engine, late bool, count *flowTally) {
	w := newFlowWorld(t, engine, false)
	w.Stop()
	for _, p := range codePlaces {
		w.kill(t, program, p)
	}
	w.settle(t, late)
	count.add(t, w, late)
}

// killWithDevice has a database for one kill: a queue whose leader was killed waits for
// another one.
func killWithDevice(t *testing.T, program clavigertest.Program, engine clavigertest.Engine, p flowPlace, late bool, count *flowTally) {
	w := newFlowWorld(t, engine, true)
	w.Stop()
	w.kill(t, program, p)
	w.settle(t, late)
	count.add(t, w, late)
}
