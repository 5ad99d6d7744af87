package claviger_test

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"claviger"

	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the generated documents instead of comparing them")

const rolesFile = "docs/roles.md"

func TestRolesDocument(t *testing.T) {
	want := rolesDocument()
	if *update {
		if err := os.WriteFile(rolesFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(rolesFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s does not say what the code does; run: go test . -run TestRolesDocument -update", rolesFile)
	}
}

// rolesDocument writes the page from the code, so that the two cannot differ.
func rolesDocument() string {
	var b strings.Builder
	b.WriteString(`# Roles and permissions

A permission is ` + "`resource:action`" + `; the same word is the verb that the ledger records. A role is
a set of them. An API key carries the permissions it was given, and never more than its
owner's role allows at the moment of the call; an application's operator token carries those
of ` + "`owner`" + `.

No permission reads a stored credential or secret value, for any role: ` + "`secrets:read`" + ` answers
facts only. A personal connection is used by its owner alone; owners and admins see that it
exists and may delete it. ` + "`organizations:create`" + ` also needs the first organization, which
administers the instance.

`)
	b.WriteString("| permission |")
	for _, r := range claviger.Roles() {
		b.WriteString(" " + string(r) + " |")
	}
	b.WriteString("\n|--|" + strings.Repeat(":-:|", len(claviger.Roles())) + "\n")
	for _, v := range claviger.Verbs() {
		b.WriteString("| `" + string(v) + "` |")
		for _, r := range claviger.Roles() {
			if r.Permissions().Has(v) {
				b.WriteString(" x |")
			} else {
				b.WriteString("   |")
			}
		}
		b.WriteString("\n")
	}
	b.WriteString("\nThis page is written by `go test . -run TestRolesDocument -update` and checked by every test run.\n")
	return b.String()
}

func TestRolesStepDown(t *testing.T) {
	all, unknown := claviger.PermissionsOf(claviger.Verbs()...)
	if len(unknown) != 0 || claviger.RoleOwner.Permissions() != all {
		t.Errorf("owner holds %v, not all of %v (unknown %v)", claviger.RoleOwner.Permissions().Verbs(), all.Verbs(), unknown)
	}
	for i, r := range claviger.Roles() {
		if !r.Valid() {
			t.Errorf("%s is not valid", r)
		}
		if len(r.Permissions().Verbs()) == 0 {
			t.Errorf("%s may do nothing", r)
		}
		if i > 0 && r.Permissions().Has(claviger.OrganizationsCreate) {
			t.Errorf("%s may create organizations", r)
		}
	}
	for _, pair := range [][2]claviger.Role{
		{claviger.RoleAdmin, claviger.RoleOwner},
		{claviger.RoleDeveloper, claviger.RoleAdmin},
		{claviger.RoleOperator, claviger.RoleAdmin},
		{claviger.RoleViewer, claviger.RoleAdmin},
		{claviger.RoleEndUser, claviger.RoleDeveloper},
	} {
		if narrow, wide := pair[0].Permissions(), pair[1].Permissions(); !narrow.Within(wide) {
			t.Errorf("%s holds %v, more than %s, which holds %v", pair[0], narrow.Verbs(), pair[1], wide.Verbs())
		}
	}
	for _, v := range claviger.RoleViewer.Permissions().Verbs() {
		if !v.ReadOnly() {
			t.Errorf("a viewer may %s", v)
		}
	}
	for _, r := range []claviger.Role{"", "root", "Owner", "owner "} {
		if r.Valid() || len(r.Permissions().Verbs()) != 0 {
			t.Errorf("the unknown role %q may do %v", r, r.Permissions().Verbs())
		}
	}
}

func TestPermissionsOf(t *testing.T) {
	set, unknown := claviger.PermissionsOf(claviger.ConnectionsRead, "connections:reveal", claviger.ActionsRun, claviger.AuthenticationFail, "*", "")
	if want := []claviger.Verb{claviger.ConnectionsRead, claviger.ActionsRun}; !slices.Equal(set.Verbs(), want) {
		t.Errorf("set holds %v, want %v", set.Verbs(), want)
	}
	if want := []claviger.Verb{"connections:reveal", claviger.AuthenticationFail, "*", ""}; !slices.Equal(unknown, want) {
		t.Errorf("unknown = %v, want %v", unknown, want)
	}
	if set.Has("") || set.Has("*") || set.Has(claviger.AuthenticationFail) || set.Has(claviger.SecretsWrite) {
		t.Error("Has must be false for what is no permission and for what the set lacks")
	}
	if len(claviger.Verbs()) > 64 {
		t.Errorf("%d permissions do not fit in 64 bits", len(claviger.Verbs()))
	}
}

func TestPermissionSetsBehaveAsSets(t *testing.T) {
	subset := rapid.SliceOfDistinct(rapid.SampledFrom(claviger.Verbs()), func(v claviger.Verb) claviger.Verb { return v })
	rapid.Check(t, func(t *rapid.T) {
		a, b := subset.Draw(t, "a"), subset.Draw(t, "b")
		pa, _ := claviger.PermissionsOf(a...)
		pb, _ := claviger.PermissionsOf(b...)
		within := true
		for _, v := range claviger.Verbs() {
			if pa.Has(v) != slices.Contains(a, v) {
				t.Fatalf("Has(%s) = %v for %v", v, pa.Has(v), a)
			}
			within = within && (!slices.Contains(a, v) || slices.Contains(b, v))
		}
		if pa.Within(pb) != within {
			t.Fatalf("%v within %v = %v", a, b, pa.Within(pb))
		}
		if back, _ := claviger.PermissionsOf(pa.Verbs()...); back != pa {
			t.Fatalf("%v comes back as %v", pa.Verbs(), back.Verbs())
		}
	})
}

func TestCaller(t *testing.T) {
	permissions, _ := claviger.PermissionsOf(claviger.ConnectionsRead)
	c := claviger.Caller{ID: "app_1", Permissions: permissions}
	if !c.May(claviger.ConnectionsRead) || c.May(claviger.ConnectionsCreate) || (claviger.Caller{}).May(claviger.ConnectionsRead) {
		t.Error("a caller may do what its permissions hold and nothing else")
	}
	if c.OwnerID() != "app_1" {
		t.Errorf("OwnerID = %s, want the application", c.OwnerID())
	}
	if c.User = "usr_1"; c.OwnerID() != "usr_1" {
		t.Errorf("OwnerID = %s, want the person", c.OwnerID())
	}
}
