package clavigertest_test

import (
	"path/filepath"
	"testing"
	"time"

	"claviger/clavigertest"
	"claviger/clavigertest/oauthserver"
)

// The database takes no writes when new tokens arrive: they are on the disk before it
// does, in the server's own folder, and there only until then.
func TestAbuse_074_TheServersSpillFolder(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		x := newRevoker(t, engine, oauthserver.Policy{Rotates: true, RevokeFamily: true})
		conn := x.connect("spilled")
		x.clock.move(2 * time.Hour)
		reached, hold := make(chan struct{}, 1), make(chan struct{})
		x.vendor.Next(oauthserver.Fault{Reached: reached, Hold: hold})
		used := make(chan int, 1)
		go func() {
			used <- x.Do(call{Token: x.Key, Method: "GET", Path: "/v1/connections/" + conn.ID + "/proxy/userinfo"}).Status
		}()
		<-reached
		tx, err := database(t, x.Server).BeginTx(t.Context(), nil)
		if err == nil {
			_, err = tx.ExecContext(t.Context(), "UPDATE grants SET cause = cause") // and nobody else may
		}
		if err != nil {
			t.Fatal(err)
		}
		close(hold)
		answers := func() (n int) {
			names, err := filepath.Glob(filepath.Join(x.Settings.Data, "spill", "*.answer"))
			if err != nil {
				t.Fatal(err)
			}
			return len(names)
		}
		eventually(t, "the answer is on the disk", func() bool { return answers() == 1 })
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		if status := <-used; status != 200 {
			t.Fatalf("the call answered %d", status)
		}
		if rotations, reuses := x.vendor.Refreshed(); rotations != 1 || reuses != 0 || answers() != 0 {
			t.Errorf("%d rotations, %d reuses, %d answers are left", rotations, reuses, answers())
		}
	})
}
