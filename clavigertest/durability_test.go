package clavigertest_test

import (
	"path/filepath"
	"testing"
	"time"

	"claviger/api"
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

// waiting brings a flow to where its tokens wait for a finish code, which it answers.
func (x *revoker) waiting(name string) (conn api.Connection, code string) {
	x.t.Helper()
	conn = x.begin(name)
	b := x.browser()
	return conn, shownCode(x.t, b.get(x.callback(b.leave(conn.AuthorizeURL))))
}

// keptInFlows counts the ciphertexts that flows hold.
func (x *revoker) keptInFlows() (n int) {
	x.t.Helper()
	db := database(x.t, x.Server)
	if err := db.QueryRowContext(x.t.Context(), "SELECT COUNT(*) FROM connect_flows WHERE sealed IS NOT NULL").Scan(&n); err != nil {
		x.t.Fatal(err)
	}
	return n
}

// Tokens that no connection will use are revoked at the vendor, also when that is down
// for an hour and the server is restarted meanwhile.
func TestAbuse_091_GivenUpWhileTheVendorIsDown(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		for name, giveUp := range map[string]func(*revoker, api.Connection){
			"expired": func(x *revoker, _ api.Connection) {
				x.clock.move(11 * time.Minute)
				x.App.Sweep(x.t.Context())
			},
			"wrong codes": func(x *revoker, conn api.Connection) {
				for range 5 {
					_, err := x.api.FinishConnection(x.t.Context(), conn.ID, "AAAA-AAAA")
					refused(x.t, err, 422, "wrong_code")
				}
			},
		} {
			t.Run(name, func(t *testing.T) {
				x := newRevoker(t, engine, oauthserver.Policy{Lifetime: 100 * time.Hour})
				conn, code := x.waiting("never finished")
				x.vendor.Always(&oauthserver.Fault{Skip: true, Status: 503})
				giveUp(x, conn)
				_, err := x.api.FinishConnection(t.Context(), conn.ID, code)
				refused(t, err, 409, "nothing_to_finish")
				eventually(t, "the vendor was asked about both tokens", func() bool { return len(x.vendor.Received("/revoke")) >= 2 })
				if x.vendor.Live() != 1 || x.keptInFlows() != 1 {
					t.Fatalf("%d refresh tokens live, %d ciphertexts", x.vendor.Live(), x.keptInFlows())
				}
				x.restart()
				x.clock.move(time.Hour)
				x.vendor.Always(nil)
				eventually(t, "nothing is left", func() bool { return x.vendor.Live() == 0 && x.keptInFlows() == 0 })
				x.flowLedger()
			})
		}
	})
}

// flowLedger checks that the ledger has a failed attempt and one that worked.
func (x *revoker) flowLedger() {
	x.t.Helper()
	outcomes := map[string]int{}
	eventually(x.t, "the ledger has both ends", func() bool {
		clear(outcomes)
		for _, e := range x.Audit(x.t, x.Key, "verb=connections:revoke") {
			if e.Resource.Type != "connect_flow" || e.Actor.Kind != "system" {
				x.t.Fatalf("%+v", e)
			}
			outcomes[e.Outcome]++
		}
		return outcomes["failed"] > 0 && outcomes["succeeded"] == 1 && outcomes["allowed"] == outcomes["failed"]+1
	})
}

// What nobody can revoke is not kept for ever.
func TestGivenUpTokensAreKeptForADay(t *testing.T) {
	x := newRevoker(t, clavigertest.SQLite, oauthserver.Policy{Lifetime: 100 * time.Hour})
	x.waiting("never finished")
	x.vendor.Always(&oauthserver.Fault{Skip: true, Status: 503})
	x.clock.move(11 * time.Minute)
	x.App.Sweep(t.Context())
	eventually(t, "the vendor was asked", func() bool { return len(x.vendor.Received("/revoke")) >= 2 })
	exec(t, database(t, x.Server), "DELETE FROM river_job WHERE kind LIKE '%revocation.flow%' OR args LIKE '%flow_%'") // lost
	x.clock.move(25 * time.Hour)
	x.App.Sweep(t.Context())
	eventually(t, "it is wiped", func() bool { return x.keptInFlows() == 0 })
}
