package vault_test

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"claviger"
	"claviger/internal/certify"
	"claviger/internal/gate"
	"claviger/internal/seal"
	"claviger/internal/store"
	"claviger/internal/vault"
)

// plainColumns are the columns of bytes that hold no ciphertext of an organization, and
// why not.
var plainColumns = map[string]string{
	"connectors.document":          "a public document",
	"keysets.wrapped":              "the keys themselves, under the master key",
	"inbound_events.replay_key":    "a hash",
	"branding.logo":                "a picture",
	"facts.value":                  "the instance's own, under its keyset",
	"idempotency.header":           "an answer without secrets",
	"idempotency.body":             "an answer without secrets",
	"checkpoints.body":             "signed, not secret",
	"oauth_clients.certificate":    "public",
	"event_deliveries.body":        "what is sent, without secrets",
	"system_manifests.document":    "a document without secrets",
	"system_certificates.document": "a document without secrets",
	"oauth_pins.endpoints":         "addresses",
}

// Every column of bytes in the schema is a ciphertext that rotation seals anew, a hash, a
// MAC, or in the list above.
func TestAbuse_194_EverySealedColumnIsSealedAnew(t *testing.T) {
	sealed := map[string]bool{"connections.sealed": true, "secrets.sealed": true}
	for _, c := range store.SealedColumns() {
		sealed[c.Table+"."+c.Column] = true
	}
	files, err := filepath.Glob("../store/migrations/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	table := regexp.MustCompile(`^(?:CREATE|ALTER) TABLE (\w+)`)
	column := regexp.MustCompile(`^\s*(?:ALTER TABLE \w+ ADD COLUMN\s+)?(\w+)\s+\{bytes\}`)
	seen := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		of := ""
		for line := range strings.Lines(string(text)) {
			if m := table.FindStringSubmatch(line); m != nil {
				of = m[1]
			}
			m := column.FindStringSubmatch(line)
			if m == nil || strings.HasSuffix(m[1], "hash") || strings.HasSuffix(m[1], "mac") {
				continue
			}
			name := of + "." + m[1]
			seen[name] = true
			if !sealed[name] && plainColumns[name] == "" {
				t.Errorf("%s (%s): a ciphertext belongs into store.SealedColumns, so that rotation seals it anew; what is none belongs into plainColumns, with the reason",
					name, filepath.Base(file))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(sealed)) {
		if !seen[name] {
			t.Errorf("%s is said to be sealed, and is not in the schema", name)
		}
	}
}

// everything has one ciphertext of each kind.
type everything struct {
	*stand
	*node
	journaled, spilled, deleted claviger.ConnectionID
	endpoint                    claviger.EventEndpoint
	flow                        claviger.ConnectFlow
	revocation                  store.Revocation
	folder                      string
}

func newEverything(t *testing.T, url string) *everything {
	s := newStand(t, url, strict, 1, nil)
	e := &everything{stand: s, node: s.nodes[0], folder: t.TempDir()}
	e.journaled, _ = s.connect(time.Nanosecond)
	cmd, out := s.spawn(e.journaled, "refresh.journal.after")
	_ = cmd.Wait()
	wasKilled(t, cmd, out)
	e.spilled, _ = s.connect(time.Nanosecond)
	s.spill(e.spilled, e.folder)
	e.change("event_endpoint", newID(t, claviger.PrefixEndpoint), "", claviger.EventEndpointsWrite, e.makeEndpoint)
	e.change("secret", "shared/acme/key", "", claviger.SecretsWrite, func(ctx context.Context, tx *store.Tx, ticket *gate.Ticket) error {
		_, err := tx.PutSecret(ctx, e.caller.Scope, "shared/acme/key", func(version int64) (claviger.Sealed, error) {
			return e.vault.SealSecret(ctx, ticket, "shared/acme/key", version, claviger.NewSecretString("hush"))
		})
		return err
	})
	e.change("system", "crm", "", claviger.SystemsTest, func(ctx context.Context, tx *store.Tx, ticket *gate.Ticket) error {
		sealed, err := e.vault.SealTrustKey(ctx, ticket, trustKey(t))
		if err == nil {
			_, err = tx.PutTrustKey(ctx, e.caller.Scope, sealed)
		}
		return err
	})
	e.change("single_sign_on", "", "", claviger.SingleSignOnWrite, func(ctx context.Context, tx *store.Tx, ticket *gate.Ticket) error {
		_, err := tx.PutSingleSignOn(ctx, e.caller.Scope, func(next claviger.SingleSignOn, _ claviger.Sealed) (claviger.SingleSignOn, claviger.Sealed, error) {
			next.Issuer = "https://id.example.com"
			sealed, err := e.vault.SealSignOnSecret(ctx, ticket, &next, claviger.NewSecretString("of the provider"))
			return next, sealed, err
		})
		return err
	})
	id := newID(t, claviger.PrefixConnection)
	e.change("connect_flow", newID(t, claviger.PrefixFlow), claviger.ConnectionID(id), claviger.ConnectionsCreate, e.makeFlow)
	e.deleted, _ = s.connect(time.Hour)
	e.change("connection", string(e.deleted), e.deleted, claviger.ConnectionsDelete, e.remove)
	return e
}

// change runs one change of the organization.
func (e *everything) change(kind, id string, conn claviger.ConnectionID, verb claviger.Verb, fn func(context.Context, *store.Tx, *gate.Ticket) error) {
	e.t.Helper()
	r := claviger.Resource{Type: kind, ID: id, Organization: e.caller.Scope.Organization(), Connection: conn, Connector: "acme"}
	ctx := e.t.Context()
	if err := e.gate.Change(ctx, e.caller, verb, r, func(tx *store.Tx, ticket *gate.Ticket) error { return fn(ctx, tx, ticket) }); err != nil {
		e.t.Fatalf("%s: %v", kind, err)
	}
}

func (e *everything) makeEndpoint(ctx context.Context, tx *store.Tx, ticket *gate.Ticket) error {
	secret, scope := claviger.NewSecretString("whsec_first"), e.caller.Scope
	x := claviger.EventEndpoint{
		ID: claviger.EndpointID(ticket.Resource().ID), Organization: scope.Organization(), URL: "https://hooks.example.com", Events: claviger.EventTypes(),
		Owner: "usr_test", Version: 1, CreatedAt: e.now(), UpdatedAt: e.now(),
	}
	sealed, err := e.vault.SealEventSecret(ctx, ticket, &x, secret)
	if err == nil {
		err = tx.CreateEventEndpoint(ctx, scope, x, sealed)
	}
	if err != nil {
		return err
	}
	e.endpoint, err = tx.RotateEventEndpoint(ctx, scope, x.ID, e.now().Add(time.Hour), func(next claviger.EventEndpoint) (claviger.Sealed, error) {
		return e.vault.SealEventSecret(ctx, ticket, &next, claviger.NewSecretString("whsec_second"))
	})
	return err
}

func (e *everything) makeFlow(ctx context.Context, tx *store.Tx, ticket *gate.Ticket) error {
	scope := e.caller.Scope
	e.flow = claviger.ConnectFlow{
		ID: claviger.FlowID(ticket.Resource().ID), Organization: scope.Organization(), Workspace: e.ws, Initiator: "usr_test",
		Draft: claviger.Connection{ID: ticket.Resource().Connection, Organization: scope.Organization(), Workspace: e.ws, Destination: "acme https://acme.example"}, Status: claviger.ConnectAwaiting,
		Revision: 3, CreatedAt: e.now(), ExpiresAt: e.now().Add(time.Hour),
	}
	sealed, err := e.vault.SealFlow(ctx, ticket, &e.flow, claviger.Credentials{vault.AccessToken: claviger.NewSecretString("waits")})
	return errors.Join(err, tx.CreateConnectFlow(ctx, scope, e.flow, sealed))
}

// spillFlow leaves on the disk what a vendor answered to the flow's code.
func (e *everything) spillFlow(n *node) {
	f := e.flow
	f.Revision++
	e.change("connect_flow", string(f.ID), f.Draft.ID, claviger.ConnectionsCreate, func(ctx context.Context, _ *store.Tx, ticket *gate.Ticket) error {
		sealed, err := n.vault.SealFlow(ctx, ticket, &f, claviger.Credentials{vault.JournaledAnswer: claviger.NewSecretString("unread")})
		return errors.Join(err, n.vault.SpillFlow(vault.SpilledFlow{Organization: f.Organization, Flow: f.ID, Revision: f.Revision, Sealed: sealed}))
	})
}

// opensSpilled opens what spillFlow left, and takes it from the disk.
func (e *everything) opensSpilled(t *testing.T, n *node) {
	left := n.vault.SpilledFlows()
	if len(left) != 1 {
		t.Fatalf("%d answers to codes are on the disk", len(left))
	}
	f := e.flow
	f.Revision = left[0].Revision
	e.change("connect_flow", string(f.ID), f.Draft.ID, claviger.ConnectionsCreate, func(ctx context.Context, _ *store.Tx, ticket *gate.Ticket) error {
		values, err := n.vault.OpenFlow(ctx, ticket, &f, left[0].Sealed)
		if err == nil && reveal(values[vault.JournaledAnswer]) != "unread" {
			t.Error("the answer to the code is another")
		}
		return errors.Join(err, n.vault.UnspillFlow(f.ID, false))
	})
}

func (e *everything) remove(ctx context.Context, tx *store.Tx, ticket *gate.Ticket) error {
	scope := e.caller.Scope
	_, err := tx.UpdateConnection(ctx, scope, e.deleted, func(old claviger.Connection, sealed claviger.Sealed) (claviger.Connection, claviger.Sealed, error) {
		kept, err := e.vault.SealRevocation(ctx, ticket, &old, sealed)
		e.revocation = store.Revocation{
			Organization: old.Organization, Connection: old.ID, Revision: old.Revision, Workspace: old.Workspace, Connector: old.Connector,
			Tokens: []claviger.Revocation{{Token: claviger.TokenAccess, Verdict: claviger.VerdictPending}}, NextAt: e.now(), GiveUpAt: e.now().Add(time.Hour),
			CreatedAt: e.now(), Sealed: kept,
		}
		old.Status = claviger.StatusRevoked
		return old, nil, err
	})
	if err != nil {
		return err
	}
	return tx.AddRevocations(ctx, []store.Revocation{e.revocation})
}

func TestAbuse_194_RotationSealsEverythingAnew(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		e := newEverything(t, url)
		n := e.open(vault.Refresh{Spill: e.folder})
		e.spillFlow(n)
		before, err := n.vault.Status(t.Context(), e.caller.Scope)
		if err != nil || before.Outdated != 0 {
			t.Fatalf("%+v, %v", before, err)
		}
		rotateKeys(t, n.gate, n.vault, e.caller)
		after, err := n.vault.Status(t.Context(), e.caller.Scope)
		if err != nil || after.Outdated != 0 || after.Primary == before.Primary || after.Sealed != before.Sealed {
			t.Fatalf("%+v, before %+v, %v", after, before, err)
		}
		for _, column := range store.SealedColumns() {
			rows, _, err := n.db.Ciphertexts(t.Context(), e.caller.Scope.Organization(), column, "", "", 10)
			if err == nil && len(rows) == 0 && (column.Table == "secret_previous" || column.Table == "inbound_events") {
				continue // what webhook slots keep: no row of it is made here
			}
			if err != nil || len(rows) != 1 {
				t.Fatalf("%s.%s: %d rows, %v", column.Table, column.Column, len(rows), err)
			}
			if id, err := seal.KeyID(rows[0].Sealed); err != nil || id != after.Primary {
				t.Errorf("%s.%s: under key %d, %v", column.Table, column.Column, id, err)
			}
		}
		e.opens(t, n)
	})
}

func trustKey(t *testing.T) claviger.Secret {
	t.Helper()
	key, err := certify.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// opens uses each ciphertext for what it is there for.
func (e *everything) opens(t *testing.T, n *node) {
	ctx := t.Context()
	e.change("single_sign_on", "", "", claviger.SingleSignOnWrite, func(ctx context.Context, _ *store.Tx, ticket *gate.Ticket) error {
		x, sealed, err := n.db.SingleSignOn(ctx, e.caller.Scope)
		if err != nil {
			return err
		}
		secret, err := n.vault.SignOnSecret(ctx, ticket, &x, sealed)
		if err == nil && reveal(secret) != "of the provider" {
			t.Error("the secret of single sign-on is another")
		}
		return err
	})
	_, secrets, _, err := n.db.EndpointToCall(ctx, e.endpoint.Organization, e.endpoint.ID)
	if err != nil {
		t.Fatal(err)
	}
	current, err := n.vault.OpenEventSecret(ctx, &e.endpoint, 2, secrets.Current)
	previous, other := n.vault.OpenEventSecret(ctx, &e.endpoint, 1, secrets.Previous)
	if err := errors.Join(err, other); err != nil || reveal(current) != "whsec_second" || reveal(previous) != "whsec_first" {
		t.Errorf("the endpoint's secrets: %v", err)
	}
	e.opensSpilled(t, n)
	n.vault.Replay(ctx)
	for _, id := range []claviger.ConnectionID{e.journaled, e.spilled} { // with the client's secret
		n.settled(id)
		if token := n.must(id); token == "at_first" {
			t.Errorf("the answer was not used")
		}
	}
	if e.sent() != 2 || len(waiting(t, e.folder)) != 0 {
		t.Errorf("%d requests, left: %v", e.sent(), waiting(t, e.folder))
	}
	e.change("system", "crm", "", claviger.SystemsTest, func(ctx context.Context, _ *store.Tx, ticket *gate.Ticket) error {
		kept, err := n.db.TrustKey(ctx, e.caller.Scope)
		if err != nil {
			return err
		}
		c, err := n.vault.Certify(ctx, ticket, kept, certify.Statement{ContractHash: claviger.Contract{}.String()})
		return errors.Join(err, c.Verify(claviger.Contract{}, ""))
	})
	flow, sealed, err := n.db.ConnectFlowByID(ctx, e.flow.ID)
	if err != nil {
		t.Fatal(err)
	}
	e.change("connect_flow", string(flow.ID), flow.Draft.ID, claviger.ConnectionsCreate, func(ctx context.Context, _ *store.Tx, ticket *gate.Ticket) error {
		values, err := n.vault.OpenFlow(ctx, ticket, &flow, sealed)
		if err == nil && reveal(values[vault.AccessToken]) != "waits" {
			t.Error("the flow's tokens are others")
		}
		return err
	})
	r, err := n.db.Revocation(ctx, "", e.revocation.Organization, e.deleted, e.revocation.Revision)
	conn, _ := n.row(e.deleted)
	if err != nil {
		t.Fatal(err)
	}
	e.change("connection", string(conn.ID), conn.ID, claviger.ConnectionsDelete, func(ctx context.Context, _ *store.Tx, ticket *gate.Ticket) error {
		values, _, err := n.vault.OpenRevocation(ctx, ticket, &conn, n.method, r)
		if err == nil && reveal(values[vault.AccessToken]) != "at_first" {
			t.Error("the revocation's tokens are others")
		}
		return err
	})
}
