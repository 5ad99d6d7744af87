package clavigertest_test

import (
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"claviger/clavigertest"
	"claviger/clavigertest/oauthserver"
)

// answers counts the vendors' answers that wait in the spill folder.
func (w *flowWorld) answers(t *testing.T) int {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(w.data, "spill", "flow_*.answer"))
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// outage begins a connection whose answer comes while the database takes nothing. It
// answers when the answer is on the disk, and what ends the outage.
func (w *flowWorld) outage(t *testing.T) (end func() error, walked <-chan struct{}) {
	t.Helper()
	a := &flowAttempt{flowPlace: flowPlace{"an outage", true, completed, expired}, conn: w.begin("mine"), browser: w.browser()}
	w.attempts = append(w.attempts, a)
	a.back = local(t, w.callback(a.browser.leave(local(t, a.conn.AuthorizeURL))))
	reached, hold, done := make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	w.vendor.Next(oauthserver.Fault{Reached: reached, Hold: hold})
	go func() { defer close(done); w.walk(a) }()
	<-reached
	tx, err := database(t, w.Server).BeginTx(t.Context(), &sql.TxOptions{})
	if err == nil {
		_, err = tx.ExecContext(t.Context(), "UPDATE connect_flows SET version = version") // and nobody else may
	}
	if err != nil {
		t.Fatal(err)
	}
	close(hold)
	eventually(t, "the answer is on the disk", func() bool { return w.answers(t) == 1 })
	return tx.Rollback, done
}

// The database takes no writes when a vendor answers a code: the answer is on the disk
// before it does, goes into its flow when it can, and is revoked if that is over.
func TestAbuse_229_AnsweredDuringAnOutage(t *testing.T) {
	program := clavigertest.Build(t, "failpoints")
	for name, c := range map[string]struct{ killed, late, over bool }{
		"it ends":                         {},
		"and is killed":                   {killed: true},
		"and is killed, and nobody comes": {killed: true, late: true},
		"and is killed, and is given up":  {killed: true, late: true, over: true},
	} {
		t.Run(name, func(t *testing.T) {
			clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
				w := newFlowWorld(t, engine, false)
				w.Stop()
				child := w.on(t, program, "")
				end, walked := w.outage(t)
				if c.killed {
					child.Kill()
				}
				if err := end(); err != nil {
					t.Fatal(err)
				}
				<-walked
				if !c.killed {
					if status := w.status(t, w.attempts[0].conn.ID); status != "active" || w.answers(t) != 0 || w.exchanges() != 1 {
						t.Errorf("%s, %d answers are left, %d exchanges", status, w.answers(t), w.exchanges())
					}
					return
				}
				if c.over { // by a node that cannot know of the answer
					w.revive(t, copyKey(t, w.Server), 11*time.Minute)
				} else {
					w.revive(t, w.data, 0)
				}
				w.App.Sweep(t.Context())
				w.Stop()
				w.settle(t, c.late)
				if n := w.answers(t); n != 0 {
					t.Errorf("%d answers are left", n)
				}
			})
		})
	}
}
