package gate_test

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/store"
)

func TestDecisions(t *testing.T) {
	r := newRoom(t, gate.ModeRelaxed)
	defer r.close(t)
	mine, personal := connection("org_a", "ws_1"), connection("org_a", "ws_1")
	personal.Visibility = claviger.VisibilityPersonal
	own := personal
	own.Owner = "usr_org_a"
	wide := claviger.Resource{Type: "connector", Organization: "org_a"}
	for _, c := range []struct {
		name     string
		caller   claviger.Caller
		verb     claviger.Verb
		resource claviger.Resource
		want     claviger.Kind // empty: admitted
		code     string
	}{
		{"own, whole organization", caller("org_a", "", claviger.RoleOwner), claviger.ConnectionsProxy, mine, "", ""},
		{"own workspace", caller("org_a", "ws_1", claviger.RoleDeveloper), claviger.ConnectionsProxy, mine, "", ""},
		{"other workspace", caller("org_a", "ws_2", claviger.RoleOwner), claviger.ConnectionsProxy, mine, claviger.KindNotFound, ""},
		{"other organization", caller("org_b", "", claviger.RoleOwner), claviger.ConnectionsProxy, mine, claviger.KindNotFound, ""},
		{"no scope at all", claviger.Caller{Permissions: claviger.RoleOwner.Permissions()}, claviger.ConnectionsRead, mine, claviger.KindNotFound, ""},
		{"no permission", caller("org_a", "", claviger.RoleViewer), claviger.ConnectionsProxy, mine, claviger.KindDenied, "permission_denied"},
		{"no permission, foreign", caller("org_b", "", claviger.RoleViewer), claviger.ConnectionsProxy, mine, claviger.KindDenied, "permission_denied"},
		{"own personal", caller("org_a", "", claviger.RoleDeveloper), claviger.ConnectionsProxy, own, "", ""},
		{"admin uses somebody's personal", caller("org_a", "", claviger.RoleAdmin), claviger.ConnectionsProxy, personal, claviger.KindDenied, "personal_connection"},
		{"admin changes somebody's personal", caller("org_a", "", claviger.RoleAdmin), claviger.ConnectionsUpdate, personal, claviger.KindDenied, "personal_connection"},
		{"admin sees somebody's personal", caller("org_a", "", claviger.RoleAdmin), claviger.ConnectionsRead, personal, "", ""},
		{"admin deletes somebody's personal", caller("org_a", "", claviger.RoleAdmin), claviger.ConnectionsDelete, personal, "", ""},
		{"developer and somebody's personal", caller("org_a", "", claviger.RoleDeveloper), claviger.ConnectionsRead, personal, claviger.KindNotFound, ""},
		{"claviger refreshes somebody's personal", system("org_a"), claviger.ConnectionsRefresh, personal, "", ""},
		{"claviger uses somebody's personal", system("org_a"), claviger.ConnectionsProxy, personal, claviger.KindDenied, "personal_connection"},
		{"workspace token reads connectors", caller("org_a", "ws_1", claviger.RoleDeveloper), claviger.ConnectorsRead, wide, "", ""},
		{"workspace token writes connectors", caller("org_a", "ws_1", claviger.RoleDeveloper), claviger.ConnectorsWrite, wide, claviger.KindDenied, "permission_denied"},
		{"foreign workspace token writes connectors", caller("org_b", "ws_1", claviger.RoleDeveloper), claviger.ConnectorsWrite, wide, claviger.KindNotFound, ""},
		{"organizations without the instance", caller("org_a", "", claviger.RoleOwner), claviger.OrganizationsCreate, wide, claviger.KindDenied, "permission_denied"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := r.gate.Check(t.Context(), c.caller, c.verb, c.resource)
			if c.want == "" && err != nil {
				t.Fatal("refused:", err)
			}
			if c.want != "" && (!claviger.IsKind(err, c.want) || c.code != "" && claviger.AsError(err).Code != c.code) {
				t.Fatalf("answered %v, want %s %s", err, c.want, c.code)
			}
		})
	}
}

// A denial is in the ledger of the one who asked, never in that of the owner.
func TestAbuse_218_DenialIsRecordedWithWhoAsked(t *testing.T) {
	r := newRoom(t, gate.ModeStrict)
	owner, stranger := caller("org_a", "", claviger.RoleOwner), caller("org_b", "", claviger.RoleOwner)
	for range 3 {
		if err := r.gate.Check(t.Context(), stranger, claviger.ConnectionsRead, connection("org_a", "ws_1")); !claviger.IsKind(err, claviger.KindNotFound) {
			t.Fatal(err)
		}
	}
	if err := r.gate.Absent(t.Context(), stranger, claviger.ConnectionsRead, claviger.Resource{Type: "connection", ID: "conn_none"}); !claviger.IsKind(err, claviger.KindNotFound) {
		t.Fatal(err)
	}
	r.close(t)
	if list := r.entries(t, owner); len(list) != 0 {
		t.Fatalf("the owner's ledger learned of it: %+v", list)
	}
	list := r.entries(t, stranger)
	if len(list) != 4 {
		t.Fatalf("%d denials recorded, want 4", len(list))
	}
	for _, e := range list {
		if e.Outcome != claviger.OutcomeDenied || e.Code != "not_found" || e.ActorID != stranger.ID || e.RequestID != "req_test" || e.Workspace != "" {
			t.Errorf("%+v", e)
		}
	}
}

func TestChangeCommitsWithItsEntryOrNotAtAll(t *testing.T) {
	r := newRoom(t, gate.ModeStrict)
	c := caller("org_a", "", claviger.RoleOwner)
	resource := claviger.Resource{Type: "secret", ID: "shared/x", Organization: "org_a"}
	fact := func(name string) func(*store.Tx, *gate.Ticket) error {
		return func(tx *store.Tx, _ *gate.Ticket) error { return tx.PutFact(t.Context(), name, []byte("1"), true) }
	}
	if err := r.gate.Change(t.Context(), c, claviger.SecretsWrite, resource, fact("done")); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	err := r.gate.Change(t.Context(), c, claviger.SecretsWrite, resource, func(tx *store.Tx, ticket *gate.Ticket) error {
		if err := fact("undone")(tx, ticket); err != nil {
			return err
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Fatal(err)
	}
	r.close(t)
	if _, err := r.db.Fact(t.Context(), "undone"); !errors.Is(err, store.ErrNotFound) {
		t.Error("the failed change left something behind")
	}
	list := r.entries(t, c)
	if len(list) != 1 || list[0].Outcome != claviger.OutcomeSucceeded || list[0].ResourceID != "shared/x" {
		t.Errorf("the ledger says %+v", list)
	}
}

// What a caller asks for may be any text; it must neither break the batch that its
// denial is written with nor the lines of an export.
func TestAbuse_221_HostileTextsAreRecordedHarmlessly(t *testing.T) {
	r := newRoom(t, gate.ModeStrict)
	c := caller("org_a", "", claviger.RoleOwner)
	hostile := []string{"\x00", "a\r\nb", "\x1b[31m", "\xff\xfe", "=cmd|' /C calc'!A0", strings.Repeat("x", 1<<20), "\u2028", `"}{"`}
	for _, id := range hostile {
		if err := r.gate.Absent(t.Context(), c, claviger.ConnectionsRead, claviger.Resource{Type: "connection", ID: id}); !claviger.IsKind(err, claviger.KindNotFound) {
			t.Fatal(err)
		}
	}
	ticket, err := r.gate.Admit(t.Context(), c, claviger.ConnectionsProxy, connection("org_a", "ws_1"), "")
	if err != nil {
		t.Fatal("the ledger no longer takes entries:", err)
	}
	ticket.Done(gate.Ending{})
	r.close(t)
	list := r.entries(t, c)
	if len(list) != len(hostile)+2 {
		t.Fatalf("%d entries, want %d", len(list), len(hostile)+2)
	}
	for _, e := range list {
		if len(e.ResourceID) > 256 || !utf8.ValidString(e.ResourceID) || strings.ContainsFunc(e.ResourceID, unicode.IsControl) {
			t.Errorf("kept %.40q", e.ResourceID)
		}
	}
	if report := r.verify(t); !report.Intact() {
		t.Errorf("%+v", report.Findings)
	}
}
