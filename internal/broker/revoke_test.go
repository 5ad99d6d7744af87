package broker_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"path/filepath"
	"testing"
	"time"

	"claviger"
	"claviger/clavigertest/cputime"
	"claviger/clavigertest/oauthserver"
	"claviger/internal/broker"
	"claviger/internal/gate"
	"claviger/internal/jobs"
	"claviger/internal/store"
	"claviger/internal/vault"
)

// issuer is a room whose connections hold tokens of an authorization server, in two
// regions, with the jobs that revoke them.
type issuer struct {
	*room
	server *oauthserver.Server
	far    claviger.WorkspaceID
}

const farRegion = claviger.RegionID("bbbbbbbb-0000-4000-8000-000000000000")

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	x := &issuer{server: oauthserver.Start(t, oauthserver.Policy{})}
	var queue *jobs.Queue
	rights, _ := claviger.PermissionsOf(claviger.ConnectionsRevoke, claviger.ConnectionsRefresh)
	regions := map[claviger.RegionID]string{claviger.DefaultRegion: "", farRegion: "sqlite:" + filepath.Join(t.TempDir(), "far.db")}
	x.room = newRoomWith(t, regions, func(_ *room, c *broker.Config) {
		c.Egress = x.server.Egress(t, nil)
		c.System = func(o claviger.OrganizationID) claviger.Caller {
			return claviger.Caller{Kind: claviger.CallerSystem, ID: "system", Scope: claviger.Authenticated(o, ""), Permissions: rights}
		}
		c.Insert = func(ctx context.Context, tx *store.Tx, kind string, args any, o jobs.Options) error {
			return queue.Insert(ctx, tx, kind, args, o)
		}
	})
	queue = must(jobs.New(jobs.Config{
		Store: x.db, Kinds: broker.RevocationKinds(func() *broker.Broker { return x.broker }), Now: x.now, Poll: 20 * time.Millisecond,
	}))(t)
	if err := queue.Start(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := queue.Abort(context.Background()); err != nil {
			t.Error(err)
		}
	})
	x.far = claviger.WorkspaceID(newID(t, claviger.PrefixWorkspace))
	x.in("", func(ctx context.Context, tx *store.Tx) error {
		return tx.CreateWorkspace(ctx, x.owner.Scope, claviger.Workspace{
			ID: x.far, Organization: x.owner.Scope.Organization(), Name: "far", Canonical: "far", Region: farRegion, Version: 1, CreatedAt: x.now(), UpdatedAt: x.now(),
		})
	})
	x.describe("client_secret_basic")
	_, err := x.broker.PutOAuthClient(t.Context(), x.owner, broker.OAuthClientChange{
		Connector: "acme", ClientID: x.server.Client.ID, Secrets: claviger.Credentials{vault.ClientSecret: x.server.Client.Secret},
	})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// describe stores the server's document, with a way of client authentication.
func (x *issuer) describe(clientAuth string) {
	x.t.Helper()
	x.publish(map[string]any{
		"baseUrl": x.server.URL, "variables": []any{}, "allowedHosts": []string{"127.0.0.1"}, "actions": []any{},
		"auth": []any{map[string]any{
			"key": "oauth", "type": "oauth2", "label": "Sign in", "test": "none", "permissions": "none",
			"oauth2": map[string]any{
				"grant": "authorizationCode", "clientAuth": clientAuth, "authorizeUrl": x.server.URL + "/authorize",
				"tokenUrl": x.server.URL + "/token", "revokeUrl": x.server.URL + "/revoke", "scopes": []string{"contacts.read"},
			},
		}},
	})
}

func (x *issuer) in(place claviger.RegionID, fn func(context.Context, *store.Tx) error) {
	x.t.Helper()
	if err := x.db.InTx(x.t.Context(), place, func(tx *store.Tx) error { return fn(x.t.Context(), tx) }); err != nil {
		x.t.Fatal(err)
	}
}

// issue stores a connection with tokens that the server issued.
func (x *issuer) issue(ws claviger.WorkspaceID) claviger.ConnectionID {
	x.t.Helper()
	ctx, conn := x.t.Context(), x.draft(ws)
	tokens := claviger.Tokens{
		Access: claviger.NewSecretString("at_" + conn.Name), Refresh: claviger.NewSecretString(x.server.Grant("contacts.read")), Type: "Bearer",
		IssuedAt: x.now(), ExpiresAt: x.now().Add(time.Hour),
	}
	creds, grant := x.vault.Issued(conn, &claviger.OAuth{}, tokens, nil, nil)
	err := x.gate.Change(ctx, x.owner, claviger.ConnectionsCreate, conn.Resource(), func(tx *store.Tx, t *gate.Ticket) error {
		sealed, err := x.vault.Seal(ctx, t, conn, creds)
		return errors.Join(err, tx.CreateConnection(ctx, x.owner.Scope, *conn, sealed), tx.PutGrant(ctx, x.owner.Scope, grant))
	})
	if err != nil {
		x.t.Fatal(err)
	}
	return conn.ID
}

// draft is a connection of the server's connector.
func (x *issuer) draft(ws claviger.WorkspaceID) *claviger.Connection {
	x.t.Helper()
	conn := &claviger.Connection{
		ID: claviger.ConnectionID(newID(x.t, claviger.PrefixConnection)), Organization: x.owner.Scope.Organization(), Workspace: ws,
		Owner: "usr_owner", Connector: "acme", ConnectorVersion: 1, AuthMethod: "oauth", Usage: claviger.UsageAPI, Visibility: claviger.VisibilityWorkspace,
		Status: claviger.StatusActive, Health: claviger.HealthHealthy, Revision: 1, Version: 1, CreatedAt: x.now(), UpdatedAt: x.now(),
	}
	conn.Name, conn.Destination = string(conn.ID), "acme "+x.server.URL+" "+x.server.URL
	return conn
}

// One question stops what it names in every region, and the vendor is asked about all of
// it.
func TestAbuse_092_EveryRegion(t *testing.T) {
	x := newIssuer(t)
	var ids []claviger.ConnectionID
	for range 3 {
		ids = append(ids, x.issue(x.ws), x.issue(x.far))
	}
	if err := x.vault.Prepare(t.Context(), x.owner.Scope.Organization()); err != nil {
		t.Fatal(err)
	}
	report, err := x.broker.RevokeConnections(t.Context(), x.owner, broker.RevocationRequest{ConnectionFilter: broker.ConnectionFilter{Connector: "acme"}})
	if err != nil || report.Counts.Connections != 6 || len(report.Connections) != 6 {
		t.Fatalf("%+v, %v", report, err)
	}
	for _, id := range ids {
		if conn, sealed, err := x.db.Connection(t.Context(), x.owner.Scope, id); err != nil || conn.Status != claviger.StatusRevoked || sealed != nil {
			t.Errorf("%s is %s, %v", id, conn.Status, err)
		}
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * time.Minute); report.Status != "done"; <-tick.C {
		if report, err = x.broker.Revocation(t.Context(), x.owner, report.ID, broker.Page{Limit: 20}); err != nil || time.Now().After(deadline) {
			t.Fatalf("%+v, %v", report, err)
		}
	}
	if report.Counts != (store.RevocationCounts{Connections: 6, Revoked: 12}) || x.server.Live() != 0 {
		t.Errorf("%+v, %d refresh tokens live", report.Counts, x.server.Live())
	}
	asked := map[string]int{}
	for _, r := range x.server.Received("/revoke") {
		asked[r.Form.Get("token")]++
	}
	if len(asked) != 12 {
		t.Errorf("%d tokens were named to the vendor", len(asked))
	}
}

// What a connection's OAuth client ends with is in the calendar, of the kind that the
// vendor goes by.
func TestTheEndsOfAnOAuthClient(t *testing.T) {
	x := newIssuer(t)
	far := x.issue(x.far)
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	inAMonth, inAYear := x.now().AddDate(0, 1, 0).UTC().Truncate(time.Second), x.now().AddDate(1, 0, 0).UTC().Truncate(time.Second)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: x.now(), NotAfter: inAYear}
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))(t)
	pkcs8 := must(x509.MarshalPKCS8PrivateKey(key))(t)
	change := broker.OAuthClientChange{
		Connector: "acme", ClientID: x.server.Client.ID, SecretEndsAt: inAMonth, Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		Secrets: claviger.Credentials{
			vault.ClientPrivateKey: claviger.NewSecret(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})), vault.ClientSecret: x.server.Client.Secret,
		},
	}
	for auth, want := range map[string]broker.Expiration{
		"client_secret_basic": {Kind: broker.ExpiresSecret, At: inAMonth}, "tls_client_auth": {Kind: broker.ExpiresCertificate, At: inAYear},
	} {
		x.describe(auth)
		if _, err := x.broker.PutOAuthClient(t.Context(), x.owner, change); err != nil {
			t.Fatal(err)
		}
		x.in(farRegion, func(ctx context.Context, tx *store.Tx) error { // to the version that was just published
			_, err := tx.UpdateConnection(ctx, x.owner.Scope, far, func(c claviger.Connection, s claviger.Sealed) (claviger.Connection, claviger.Sealed, error) {
				c.ConnectorVersion = must(x.db.Connector(ctx, x.owner.Scope, "acme", 0))(t).Version
				return c, s, nil
			})
			return err
		})
		all, err := x.broker.Expirations(t.Context(), x.owner, broker.ConnectionFilter{})
		if err != nil || len(all) != 2 || all[0].Kind != broker.ExpiresAccess || all[1].Kind != want.Kind || !all[1].At.Equal(want.At) || !all[1].Known || all[1].Renews {
			t.Errorf("%s: %+v, %v", auth, all, err)
		}
	}
	if next, err := x.db.NextDeath(t.Context(), x.now()); err != nil || !next.Equal(inAMonth) {
		t.Errorf("the next end of all: %s, %v", next, err)
	}
	stays := change
	stays.Secrets, stays.SecretEndsAt = nil, time.Time{}
	if kept, err := x.broker.PutOAuthClient(t.Context(), x.owner, stays); err != nil || !kept.SecretEndsAt.Equal(inAMonth) {
		t.Errorf("with the same secret: %s, %v", kept.SecretEndsAt, err)
	}
	change.SecretEndsAt = time.Time{}
	if kept, err := x.broker.PutOAuthClient(t.Context(), x.owner, change); err != nil || !kept.SecretEndsAt.IsZero() {
		t.Errorf("with another secret: %s, %v", kept.SecretEndsAt, err)
	}
	change.SecretEndsAt = x.now()
	if _, err := x.broker.PutOAuthClient(t.Context(), x.owner, change); code(err) != "invalid_format clientSecretExpiresAt" {
		t.Errorf("a time that has passed: %v", err)
	}
}

// Ten thousand connections are stopped before a person has looked up.
func TestAbuse_092_TenThousandWithinFiveSeconds(t *testing.T) {
	const count, batch = 10_000, 500
	x := newIssuer(t)
	if err := x.vault.Prepare(t.Context(), x.owner.Scope.Organization()); err != nil {
		t.Fatal(err)
	}
	for range count / batch {
		x.issueMany(batch)
	}
	var report broker.RevocationReport
	var err error
	took := cputime.Of(t, func() {
		report, err = x.broker.RevokeConnections(t.Context(), x.owner, broker.RevocationRequest{ConnectionFilter: broker.ConnectionFilter{Connector: "acme"}})
	})
	if err != nil || report.Counts.Connections != count || report.Counts.Pending+report.Counts.Revoked != count {
		t.Fatalf("%+v, %v", report.Counts, err)
	}
	alive := must(x.db.Connections(t.Context(), x.owner.Scope, store.ConnectionFilter{Connector: "acme"}, store.Page{Limit: 1}))(t)
	t.Logf("%d connections stopped within %s", count, took)
	if len(alive) != 0 || took > 5*time.Second {
		t.Errorf("%d are alive, after %s", len(alive), took)
	}
}

// issueMany stores many connections at once, each with an access token of its own.
func (x *issuer) issueMany(count int) {
	x.t.Helper()
	ctx := x.t.Context()
	r := claviger.Resource{Type: "workspace", ID: string(x.ws), Organization: x.owner.Scope.Organization(), Workspace: x.ws}
	err := x.gate.Change(ctx, x.owner, claviger.ConnectionsCreate, r, func(tx *store.Tx, t *gate.Ticket) error {
		for range count {
			conn := x.draft(x.ws)
			creds, _ := x.vault.Issued(conn, &claviger.OAuth{}, claviger.Tokens{
				Access: claviger.NewSecretString("at_" + conn.Name), Type: "Bearer", IssuedAt: x.now(), ExpiresAt: x.now().Add(time.Hour),
			}, nil, nil)
			sealed, err := x.vault.Seal(ctx, t.Also(conn.Resource()), conn, creds)
			if err := errors.Join(err, tx.CreateConnection(ctx, x.owner.Scope, *conn, sealed)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		x.t.Fatal(err)
	}
}
