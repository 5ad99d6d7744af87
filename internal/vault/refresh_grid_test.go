package vault_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger"
	"claviger/clavigertest/oauthserver"
	"claviger/clavigertest/soak"
	"claviger/internal/store"
)

// crashes lists where a process is killed, in the order in which a refresh passes, and
// whether a strict vendor's token may be lost there: between the mark that the token
// leaves and the journal nobody can know what the vendor did.
var crashes = []place{
	{"refresh.lease.before", false},
	{"refresh.lease.after", false},
	{"refresh.intent.before", false},
	{"refresh.intent.after", false},
	{"refresh.send.before", false},
	{"refresh.sending.before", false},
	{"refresh.sending.after", true},
	{vendorCommit, true},
	{midHead, true},
	{midBody, true},
	{"refresh.send.after", true},
	{"refresh.journal.before", true},
	{"refresh.journal.after", false},
	{"refresh.commit.before", false},
	{"refresh.commit.after", false},
	{"refresh.release.before", false},
	{"refresh.release.after", false},
	{anyMoment, true},
}

type place struct {
	at    string
	risky bool
}

// The places of the grid that are no marks in the source.
const (
	vendorCommit = "after the vendor's commit, before its answer"
	midHead      = "in the head of the vendor's answer"
	midBody      = "in the body of the vendor's answer"
	anyMoment    = "any moment"
)

// during says how much of the vendor's answer has left when the process is killed.
var during = map[string]int{vendorCommit: 0, midHead: 20, midBody: -20}

// vendors are the policies of the grid, and whether they bear a token twice.
var vendors = []struct {
	name   string
	policy oauthserver.Policy
	bears  bool
}{
	{"not rotating", oauthserver.Policy{}, true},
	{"grace", oauthserver.Policy{Rotates: true, RevokeFamily: true, Grace: 30 * time.Second}, true},
	{"strict", oauthserver.Policy{Rotates: true}, false},
	{"family", oauthserver.Policy{Rotates: true, RevokeFamily: true}, false},
}

func TestEveryMarkOfARefreshIsInTheGrid(t *testing.T) {
	files, err := filepath.Glob("refresh*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	marks := regexp.MustCompile(`failpoint\.Hit\("(refresh\.[^"]+)"\)`)
	found := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range marks.FindAllStringSubmatch(string(text), -1) {
			found++
			if !slices.ContainsFunc(crashes, func(c place) bool { return c.at == m[1] }) {
				t.Errorf("%s: nobody is killed at %s", file, m[1])
			}
		}
	}
	if want := len(crashes) - len(during) - 1; found != want {
		t.Errorf("%d marks in the source, %d in the grid", found, want)
	}
}

// outcome is what became of a connection whose refresher was killed.
type outcome string

// The outcomes. A connection that is lost or given up asks its owner, with the cause
// refresh_uncertain.
const (
	kept     outcome = "kept"
	repeated outcome = "kept by a repeat"
	lost     outcome = "lost" // the vendor had used the token up, and nobody has its answer
	givenUp  outcome = "given up"
	unhurt   outcome = "not hit" // the process had ended before it was killed
)

// tally counts outcomes by where the process was killed and by the vendor's policy.
type tally struct {
	mu      sync.Mutex
	counts  map[[2]string]map[outcome]int
	kills   map[string]int // by policy
	slowest time.Duration  // until a connection could be used again, or was known to be lost
}

func (c *tally) note(at, policy string, o outcome, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o == unhurt {
		return
	}
	key := [2]string{at, policy}
	if c.counts[key] == nil {
		c.counts[key] = map[outcome]int{}
	}
	c.counts[key][o]++
	c.kills[policy]++
	c.slowest = max(c.slowest, took)
}

// killsEach is how many processes a long run kills for each policy.
const killsEach = 2000

func TestAbuse_228_KilledAnywhere(t *testing.T) {
	rounds := soak.Rounds(t, 1, killsEach/(2*(len(crashes)-1))+1) // any moment may be too late
	count := &tally{counts: map[[2]string]map[outcome]int{}, kills: map[string]int{}}
	t.Run("on", func(t *testing.T) {
		onEngines(t, func(t *testing.T, url string) {
			for _, v := range vendors {
				t.Run(v.name, func(t *testing.T) {
					t.Parallel()
					for round := range rounds {
						t.Run(fmt.Sprint(round), func(t *testing.T) {
							s := newStand(t, database(t, url), v.policy, 1, nil)
							s.crashEverywhere(v.name, v.bears, count)
							s.later()
						})
					}
				})
			}
		})
	})
	text := count.markdown()
	t.Logf("\n%s", text)
	soak.Write(t, "kills", text)
}

// crashEverywhere kills one process at each place, each with a connection of its own.
func (s *stand) crashEverywhere(policy string, bears bool, count *tally) {
	places := make(chan struct{}, 6)
	var cells sync.WaitGroup
	for _, c := range crashes {
		if _, ok := during[c.at]; ok {
			continue
		}
		id, refresh := s.connect(time.Nanosecond)
		cells.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			o, took := s.crash(id, refresh, c.at, c.risky && !bears)
			count.note(c.at, policy, o, took)
		})
	}
	cells.Wait()
	for at, part := range during { // one after the other: the vendor spoils what comes next
		o, took := s.crashDuring(at, part, !bears)
		count.note(at, policy, o, took)
	}
}

// crash kills a child at a place and checks what another node makes of it.
func (s *stand) crash(id claviger.ConnectionID, refresh, at string, risky bool) (outcome, time.Duration) {
	failpoint := at
	if at == anyMoment {
		failpoint = ""
	}
	cmd, out := s.spawn(id, failpoint)
	if at == anyMoment {
		moment := time.AfterFunc(rand.N(80*time.Millisecond), func() { _ = cmd.Process.Kill() })
		defer moment.Stop()
	}
	if err := cmd.Wait(); err == nil && at == anyMoment {
		return unhurt, 0
	}
	wasKilled(s.t, cmd, out)
	return s.recovers(id, refresh, at, risky)
}

// crashDuring kills a child after the vendor's commit, with a part of its answer.
func (s *stand) crashDuring(at string, part int, risky bool) (outcome, time.Duration) {
	s.t.Helper()
	id, refresh := s.connect(time.Nanosecond)
	reached, hold := make(chan struct{}, 1), make(chan struct{})
	s.server.Next(oauthserver.Fault{Stall: part, Reached: reached, Hold: hold})
	cmd, out := s.spawn(id, "")
	<-reached
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	wasKilled(s.t, cmd, out)
	close(hold)
	return s.recovers(id, refresh, at, risky)
}

// recovers uses a connection whose refresher is dead. A connection is lost only where
// the place is risky, only if the token was marked as sent and no answer is in the
// journal, and never without saying so.
func (s *stand) recovers(id claviger.ConnectionID, refresh, at string, risky bool) (outcome, time.Duration) {
	s.t.Helper()
	left := s.nodes[0].grant(id).State
	began := time.Now()
	token, err := s.nodes[0].use(s.t.Context(), id)
	took := time.Since(began)
	conn, _ := s.nodes[0].row(id)
	sent := 0
	for _, r := range s.server.Received("/token") {
		if r.Form.Get("refresh_token") == refresh {
			sent++
		}
	}
	// The database may still have been about to commit the mark of a process that is dead.
	marked := left == store.GrantSending || at == anyMoment && left == store.GrantIntent
	reported := code(err) == "reauthorization_required" && conn.LastError != nil && conn.LastError.Code == "refresh_uncertain" && marked
	must := risky && at != anyMoment // be lost there
	switch alive := err == nil && token != "at_first" && conn.Status == claviger.StatusActive; {
	case alive && sent == 1 && !must:
		return kept, took
	case alive && sent == 2 && !must:
		return repeated, took
	case reported && risky && sent == 1 && !s.server.Alive(refresh):
		return lost, took
	case reported && risky && sent == 0 && s.server.Alive(refresh):
		return givenUp, took
	}
	s.t.Errorf("%s: left %s behind, then %q, %v, status %s, %+v, sent %d times", at, left, token, err, conn.Status, conn.LastError, sent)
	return "broken", took
}

// markdown is the grid as the page shows it.
func (c *tally) markdown() string {
	var b strings.Builder
	total := 0
	for _, v := range vendors {
		total += c.kills[v.name]
	}
	fmt.Fprintf(&b, "%d processes killed, on both engines; the slowest connection could be used again, or was known to be lost, %s after its next use began (a dead process keeps its lease for %s).\n\n",
		total, c.slowest.Round(time.Millisecond), crashLease)
	b.WriteString("| killed at |")
	rule := "|---|"
	for _, v := range vendors {
		fmt.Fprintf(&b, " %s |", v.name)
		rule += "---|"
	}
	fmt.Fprintf(&b, "\n%s\n", rule)
	for _, p := range crashes {
		fmt.Fprintf(&b, "| %s |", p.at)
		for _, v := range vendors {
			fmt.Fprintf(&b, " %s |", spelled(c.counts[[2]string{p.at, v.name}]))
		}
		b.WriteString("\n")
	}
	b.WriteString("| all |")
	for _, v := range vendors {
		sum := map[outcome]int{}
		for _, p := range crashes {
			for o, n := range c.counts[[2]string{p.at, v.name}] {
				sum[o] += n
			}
		}
		fmt.Fprintf(&b, " %d kills: %s |", c.kills[v.name], spelled(sum))
	}
	b.WriteString("\n")
	return b.String()
}

func spelled(counts map[outcome]int) string {
	var words []string
	for _, o := range []outcome{kept, repeated, lost, givenUp} {
		if n := counts[o]; n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, o))
		}
	}
	return strings.Join(words, ", ")
}
