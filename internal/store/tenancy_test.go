package store_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"claviger"
	"claviger/internal/store"
)

// victim is what a foreigner must not reach: one row of each kind.
type victim struct {
	*tenant
	system      claviger.System
	user        claviger.UserID
	application claviger.ApplicationID
	key         claviger.KeyID
	token       claviger.TokenID
	connection  claviger.ConnectionID
	entry       claviger.Entry
	endpoint    claviger.EndpointID
	delivered   claviger.DeliveryID
	inbound     claviger.InboundID
}

const victimsSecret = "shared/acme/key"

func (f *fixture) victim(name string) *victim {
	f.t.Helper()
	v := &victim{tenant: f.tenant(name)}
	v.user, v.application = claviger.UserID(f.id("usr")), claviger.ApplicationID(f.id("app"))
	v.key, v.token = claviger.KeyID(f.id("key")), claviger.TokenID(f.id("tok"))
	f.do(func(ctx context.Context, tx *store.Tx) error {
		_, putConnector := tx.PutConnector(ctx, v.scope, "custom", []byte("{}"), "usr")
		_, putSecret := tx.PutSecret(ctx, v.scope, victimsSecret, func(int64) (claviger.Sealed, error) { return claviger.Sealed("s"), nil })
		return errors.Join(putConnector, putSecret,
			tx.CreateUser(ctx, v.scope, claviger.User{ID: v.user, Organization: v.org.ID, Email: "a@example.com", Role: claviger.RoleOwner}),
			tx.CreateApplication(ctx, v.scope, claviger.Application{ID: v.application, Organization: v.org.ID, ClientID: string(v.application)}),
			tx.CreateAPIKey(ctx, v.scope, claviger.APIKey{ID: v.key, Organization: v.org.ID, Workspace: v.workspace.ID, Hash: []byte(v.key)}),
			tx.CreateToken(ctx, v.scope, claviger.MintedToken{ID: v.token, Organization: v.org.ID, Workspace: v.workspace.ID}))
	})
	v.connection = v.connect(v.tenant.connection("one")).ID
	f.do(func(ctx context.Context, tx *store.Tx) error {
		_, putClient := tx.PutOAuthClient(ctx, v.scope, "custom", "oauth", registration)
		_, pin := tx.PinEndpoints(ctx, v.scope, store.Pin{Connector: "custom", Version: 1, Issuer: "https://issuer.example", Endpoints: []byte(`{"Token":"victim's"}`)})
		return errors.Join(putClient, pin)
	})
	ok(v.lease(v.connection, "victim's node", -time.Second))(f.t)
	f.in(claviger.DefaultRegion, func(ctx context.Context, tx *store.Tx) error {
		return tx.AddUsage(ctx, []claviger.UsageRow{{Organization: v.org.ID, Workspace: v.workspace.ID, Connection: v.connection, Hour: f.time(), Calls: 1}})
	})
	v.system = v.upload("{}", claviger.Slot{Key: "default", Connection: v.connection, Awaiting: []string{victimsSecret}})
	f.do(func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(
			tx.PutCertificate(ctx, v.scope, &v.system, store.Certificate{Level: "BRONZE"}),
			tx.PutPolicy(ctx, v.scope, claviger.Policy{SyncFallback: true}),
			v.keepTrustKey(ctx, tx))
	})
	v.subscribe()
	v.receiveOne()
	v.signsIn()
	v.provesItself()
	v.beginConnecting()
	v.revokeOne()
	entries := v.entries("stream-"+name, 1, 1)
	v.entry = entries[0]
	wants(f.t, f.appendTo("", "stream-"+name, entries), nil)
	return v
}

func registration(next store.OAuthClient, _ claviger.Sealed) (store.OAuthClient, claviger.Sealed, error) {
	next.ClientID = "client"
	return next, claviger.Sealed("s"), nil
}

// attempt is one scoped method called for the victim's rows under some scope. It
// answers how many of the victim's rows it saw or changed.
type attempt func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error)

func seen[T any](v []T, err error) (int, error) { return len(v), err }

func hit(err error) (int, error) {
	if err != nil {
		return 0, err
	}
	return 1, nil
}

func hit1[T any](_ T, err error) (int, error) { return hit(err) }

// scopedMethods has every method of DB and Tx that takes a scope, which the test
// below asserts. organizationWide says that a scope bound to a workspace, even one
// that exists, reaches nothing by it.
var scopedMethods = joined(signInMethods, proofMethods, systemMethods, inboundMethods, map[string]scopedMethod{
	"DB.Workspaces": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return seen(f.Workspaces(ctx, s, store.Page{}))
	}},
	"DB.Workspace": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit1(f.Workspace(ctx, s, v.workspace.ID))
	}},
	"DB.WorkspaceByName": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit1(f.WorkspaceByName(ctx, s, "default"))
	}},
	"DB.Users": {true, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return seen(f.Users(ctx, s, store.Page{}))
	}},
	"DB.User": {true, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit1(f.User(ctx, s, v.user))
	}},
	"DB.Applications": {true, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return seen(f.Applications(ctx, s, store.Page{}))
	}},
	"DB.Application": {true, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit1(f.Application(ctx, s, v.application))
	}},
	"DB.APIKeys": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return seen(f.APIKeys(ctx, s, store.Page{}))
	}},
	"DB.APIKey": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit1(f.APIKey(ctx, s, v.key))
	}},
	"DB.Connector": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit1(f.Connector(ctx, s, "custom", 1))
	}},
	"DB.ConnectorRows": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return seen(f.ConnectorRows(ctx, s, store.Page{}))
	}},
	"DB.Connection": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		_, _, err := f.Connection(ctx, s, v.connection)
		return hit(err)
	}},
	"DB.ConnectionRegion": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit1(f.ConnectionRegion(ctx, s, v.connection))
	}},
	"DB.Connections": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		all, err := f.Connections(ctx, s, store.ConnectionFilter{}, store.Page{})
		named, err2 := f.Connections(ctx, s, store.ConnectionFilter{Workspace: v.workspace.ID, TagKey: "env", TagValue: "prod"}, store.Page{})
		return len(all) + len(named), errors.Join(err, err2)
	}},
	"DB.Secret": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		_, _, err := f.Secret(ctx, s, victimsSecret)
		return hit(err)
	}},
	"DB.Secrets": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return seen(f.Secrets(ctx, s, "", store.Page{}))
	}},
	"DB.Ledger": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		all, err := f.Ledger(ctx, s, store.LedgerFilter{}, store.Page{})
		named, err2 := f.Ledger(ctx, s, store.LedgerFilter{Workspace: v.workspace.ID, RequestID: v.entry.RequestID}, store.Page{})
		return len(all) + len(named), errors.Join(err, err2)
	}},
	"DB.Usage": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return seen(f.Usage(ctx, s, v.connection, time.Time{}, f.time().Add(time.Hour)))
	}},
	"DB.OrganizationUsage": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return seen(f.OrganizationUsage(ctx, s, time.Time{}, f.time().Add(time.Hour)))
	}},
	"DB.ConnectionNamed": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit1(f.ConnectionNamed(ctx, s, v.workspace.ID, "one"))
	}},
	"Tx.CreateWorkspace": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.CreateWorkspace(ctx, s, claviger.Workspace{ID: "ws_new", Organization: v.org.ID, Canonical: "new", Region: claviger.DefaultRegion}))
	}},
	"Tx.UpdateWorkspace": {false, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit1(tx.UpdateWorkspace(ctx, s, v.workspace.ID, func(w claviger.Workspace) (claviger.Workspace, error) { return w, nil }))
	}},
	"Tx.DeleteWorkspace": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		err := tx.DeleteWorkspace(ctx, s, v.workspace.ID)
		if errors.Is(err, store.ErrConflict) {
			return 1, nil
		}
		return hit(err)
	}},
	"Tx.CreateUser": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.CreateUser(ctx, s, claviger.User{ID: "usr_new", Organization: v.org.ID}))
	}},
	"Tx.UpdateUser": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit1(tx.UpdateUser(ctx, s, v.user, func(u claviger.User) (claviger.User, error) { return u, nil }))
	}},
	"Tx.DeleteUser": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.DeleteUser(ctx, s, v.user))
	}},
	"Tx.CountOwners": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		n, err := tx.CountOwners(ctx, s)
		return int(n), err
	}},
	"Tx.CreateApplication": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.CreateApplication(ctx, s, claviger.Application{ID: "app_new", Organization: v.org.ID, ClientID: "new"}))
	}},
	"Tx.DeleteApplication": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.DeleteApplication(ctx, s, v.application))
	}},
	"Tx.CreateAPIKey": {false, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.CreateAPIKey(ctx, s, claviger.APIKey{ID: "key_new", Organization: v.org.ID, Workspace: v.workspace.ID}))
	}},
	"Tx.RevokeAPIKey": {false, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.RevokeAPIKey(ctx, s, v.key))
	}},
	"Tx.CreateToken": {false, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.CreateToken(ctx, s, claviger.MintedToken{ID: "tok_new", Organization: v.org.ID, Workspace: v.workspace.ID}))
	}},
	"Tx.RevokeToken": {false, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.RevokeToken(ctx, s, v.token))
	}},
	"Tx.RevokeTokens": {false, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		n, err := tx.RevokeTokens(ctx, s, f.time().Add(time.Hour), "")
		return int(n), err
	}},
	"Tx.PutConnector": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		version, err := tx.PutConnector(ctx, s, "custom", []byte("{}"), "x")
		return version - 1, err // version 1 is of one's own connector
	}},
	"Tx.DeleteConnector": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.DeleteConnector(ctx, s, "custom"))
	}},
	"Tx.CreateConnection": {false, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.CreateConnection(ctx, s, v.tenant.connection("new"), nil))
	}},
	"Tx.UpdateConnection": {false, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit1(tx.UpdateConnection(ctx, s, v.connection, func(c claviger.Connection, sealed claviger.Sealed) (claviger.Connection, claviger.Sealed, error) {
			return c, sealed, nil
		}))
	}},
	"Tx.DisableConnections": {false, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return seen(tx.DisableConnections(ctx, s, store.ConnectionFilter{Workspace: v.workspace.ID}))
	}},
	"Tx.RevokeConnections": {false, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return seen(tx.RevokeConnections(ctx, s, store.ConnectionFilter{Workspace: v.workspace.ID}, 10, v.condemn))
	}},
	"Tx.CreateRevocationReport": {false, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.CreateRevocationReport(ctx, s, v.report("rev_new")))
	}},
	"Tx.StopEnded": {false, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		first, err := tx.StopEnded(ctx, s, victimsReport)
		if !first {
			return 0, err
		}
		return hit(err)
	}},
	"Tx.RevokingConnectors": {false, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return seen(tx.RevokingConnectors(ctx, s, victimsReport))
	}},
	"Tx.JournaledAnswer": {false, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit1(tx.JournaledAnswer(ctx, s, v.connection))
	}},
	"DB.RevocationReport": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit1(f.RevocationReport(ctx, s, victimsReport))
	}},
	"DB.RevocationCounts": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		n, err := f.RevocationCounts(ctx, s, victimsReport)
		return int(n.Connections), err
	}},
	"DB.RevokedConnections": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return seen(f.RevokedConnections(ctx, s, victimsReport, store.Page{}))
	}},
	"DB.UsesSince": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return seen(f.UsesSince(ctx, s, []claviger.ConnectionID{v.connection}, time.Time{}))
	}},
	"DB.ExpiringConnections": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return seen(f.ExpiringConnections(ctx, s, store.ConnectionFilter{Workspace: v.workspace.ID}))
	}},
	"DB.OAuthClients": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return seen(f.OAuthClients(ctx, s))
	}},
	"Tx.PutSecret": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		m, err := tx.PutSecret(ctx, s, victimsSecret, func(int64) (claviger.Sealed, error) { return claviger.Sealed("x"), nil })
		return int(m.Version) - 1, err // version 1 is of one's own secret
	}},
	"Tx.ResealSecret": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.ResealSecret(ctx, s, victimsSecret, 1, claviger.Sealed("x")))
	}},
	"DB.OAuthClient": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		_, _, err := f.OAuthClient(ctx, s, "custom", "oauth")
		return hit(err)
	}},
	"Tx.PutOAuthClient": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		c, err := tx.PutOAuthClient(ctx, s, "custom", "oauth", registration)
		return int(c.Version) - 1, err // version 1 is of one's own registration
	}},
	"Tx.DeleteOAuthClient": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.DeleteOAuthClient(ctx, s, "custom", "oauth"))
	}},
	"DB.PinnedEndpoints": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit1(f.PinnedEndpoints(ctx, s, "custom", 1, "https://issuer.example"))
	}},
	"Tx.PinEndpoints": {false, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		kept, err := tx.PinEndpoints(ctx, s, store.Pin{Connector: "custom", Version: 1, Issuer: "https://issuer.example", Endpoints: []byte("{}")})
		return len(kept) - len("{}"), err // two bytes are of one's own pin
	}},
	"Tx.PutBranding": {true, func(ctx context.Context, _ *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		// The scope's organization is meant, whatever the branding says.
		err := tx.PutBranding(ctx, s, claviger.Branding{Organization: v.org.ID, Name: "Acme"})
		if s.Organization() != v.org.ID {
			return 0, err
		}
		return hit(err)
	}},
	"DB.Grant": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit1(f.Grant(ctx, s, v.connection))
	}},
	"Tx.PutGrant": {false, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.PutGrant(ctx, s, store.Grant{Connection: v.connection}))
	}},
	"Tx.LeaseGrant": {false, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit1(tx.LeaseGrant(ctx, s, v.connection, "thief", time.Minute))
	}},
	"Tx.ExtendGrant": {false, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.ExtendGrant(ctx, s, v.connection, 1, time.Minute))
	}},
	"Tx.ReleaseGrant": {false, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.ReleaseGrant(ctx, s, v.connection, 1))
	}},
	"Tx.UpdateGrant": {false, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit1(tx.UpdateGrant(ctx, s, v.connection, 1, func(*store.Grant, time.Time) {}))
	}},
	"DB.EventEndpoint": {true, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit1(f.EventEndpoint(ctx, s, v.endpoint))
	}},
	"DB.EventEndpoints": {true, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, _ *victim) (int, error) {
		return seen(f.EventEndpoints(ctx, s, store.Page{}))
	}},
	"DB.EventDelivery": {true, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit1(f.EventDelivery(ctx, s, v.endpoint, v.delivered))
	}},
	"DB.EventDeliveries": {true, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return seen(f.EventDeliveries(ctx, s, v.endpoint, store.Page{}))
	}},
	"Tx.CreateEventEndpoint": {true, func(ctx context.Context, _ *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.CreateEventEndpoint(ctx, s, claviger.EventEndpoint{ID: "ep_new", Organization: v.org.ID}, claviger.Sealed("s")))
	}},
	"Tx.RotateEventEndpoint": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit1(tx.RotateEventEndpoint(ctx, s, v.endpoint, f.time(), func(claviger.EventEndpoint) (claviger.Sealed, error) {
			return claviger.Sealed("s"), nil
		}))
	}},
	"Tx.DeleteEventEndpoint": {true, func(ctx context.Context, _ *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.DeleteEventEndpoint(ctx, s, v.endpoint))
	}},
	"Tx.ReplayEventDelivery": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit1(tx.ReplayEventDelivery(ctx, s, v.endpoint, v.delivered, f.time()))
	}},
	"DB.ConnectSession": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit1(f.ConnectSession(ctx, s, v.session().ID))
	}},
	"DB.AwaitingConnectFlows": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return seen(f.AwaitingConnectFlows(ctx, s, "", v.connection, 10))
	}},
	"DB.ReturnURLs": {false, func(ctx context.Context, f *fixture, _ *store.Tx, s claviger.Scope, _ *victim) (int, error) {
		return seen(f.ReturnURLs(ctx, s))
	}},
	"Tx.CreateConnectSession": {false, func(ctx context.Context, _ *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		x := v.session()
		x.ID, x.TokenHash = "cs_new", []byte("new")
		return hit(tx.CreateConnectSession(ctx, s, x))
	}},
	"Tx.UpdateConnectSession": {false, func(ctx context.Context, _ *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit1(tx.UpdateConnectSession(ctx, s, v.session().ID, func(x claviger.ConnectSession) (claviger.ConnectSession, error) { return x, nil }))
	}},
	"Tx.CreateConnectFlow": {false, func(ctx context.Context, _ *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		x := v.flow()
		x.ID = "flow_new"
		return hit(tx.CreateConnectFlow(ctx, s, x, nil))
	}},
	"Tx.UpdateConnectFlow": {false, func(ctx context.Context, _ *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit1(tx.UpdateConnectFlow(ctx, s, v.flow().ID, func(x claviger.ConnectFlow, sealed claviger.Sealed) (claviger.ConnectFlow, claviger.Sealed, error) {
			return x, sealed, nil
		}))
	}},
	"Tx.NewerFlowCompleted": {false, func(ctx context.Context, _ *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		newer, err := tx.NewerFlowCompleted(ctx, s, v.earlier())
		if newer {
			return 1, err
		}
		return 0, err
	}},
	"Tx.PutReturnURLs": {true, func(ctx context.Context, _ *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		if s.Organization() != v.org.ID {
			return 0, tx.PutReturnURLs(ctx, s, nil) // one's own list, or none
		}
		return hit(tx.PutReturnURLs(ctx, s, nil))
	}},
	"Tx.DeleteSecret": {true, func(ctx context.Context, f *fixture, tx *store.Tx, s claviger.Scope, v *victim) (int, error) {
		return hit(tx.DeleteSecret(ctx, s, victimsSecret))
	}},
})

// errUndo ends every attempt's transaction, so that each begins at the same state.
var errUndo = errors.New("undo")

func (f *fixture) attempt(call attempt, s claviger.Scope, v *victim) (n int, err error) {
	f.t.Helper()
	ended := f.try("", func(ctx context.Context, tx *store.Tx) error {
		n, err = call(ctx, f, tx, s, v)
		return errUndo
	})
	wants(f.t, ended, errUndo)
	return n, err
}

func TestScopedMethodsAreAllListed(t *testing.T) {
	var want []string
	for prefix, kind := range map[string]reflect.Type{"DB.": reflect.TypeFor[*store.DB](), "Tx.": reflect.TypeFor[*store.Tx]()} {
		for m := range kind.Methods() {
			for i := range m.Type.NumIn() {
				if m.Type.In(i) == reflect.TypeFor[claviger.Scope]() {
					want = append(want, prefix+m.Name)
				}
			}
		}
	}
	var got []string
	for name := range scopedMethods {
		got = append(got, name)
	}
	slices.Sort(want)
	slices.Sort(got)
	same(t, want, got)
}

func TestAbuse_002_ForeignScopeReachesNothing(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		v := f.victim("victim")
		stranger := claviger.Authenticated("org_stranger", "")
		// The attacker exists, and has rows of the same names.
		attacker := claviger.Authenticated(f.tenant("attacker").org.ID, "")
		for name, m := range scopedMethods {
			if n, err := f.attempt(m.call, v.scope, v); n == 0 || err != nil {
				t.Errorf("%s under its own scope: %d rows, %v: the attempt proves nothing", name, n, err)
			}
			if n, err := f.attempt(m.call, claviger.Scope{}, v); n > 0 || !errors.Is(err, store.ErrNoScope) {
				t.Errorf("%s under the zero scope: %d rows, %v", name, n, err)
			}
			for _, s := range []claviger.Scope{stranger, attacker} {
				n, err := f.attempt(m.call, s, v)
				own := name == "DB.Workspaces" || name == "DB.WorkspaceByName"
				if n > 0 && (!own || s == stranger) {
					t.Errorf("%s under a foreign scope reaches %d rows", name, n)
				}
				if err != nil && !errors.Is(err, store.ErrNotFound) {
					t.Errorf("%s under a foreign scope: %v, want not found", name, err)
				}
			}
		}
	})
}

func TestAbuse_005_ListsStayInTheirWorkspace(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		v := f.victim("victim")
		neighbour := v.addWorkspace("neighbour", claviger.DefaultRegion)
		bound := claviger.Authenticated(v.org.ID, neighbour.ID)
		// What belongs to the organization may be read from all its workspaces.
		shared := []string{"DB.Connector", "DB.ConnectorRows", "DB.Secret", "DB.Secrets", "DB.OAuthClient", "DB.OAuthClients", "DB.ReturnURLs", "DB.PinnedEndpoints", "Tx.PinEndpoints", "DB.Policy", "DB.SecretVersions", "DB.AnySubscribed"}
		own := []string{"DB.Workspaces"} // answers the neighbour itself
		for name, m := range scopedMethods {
			n, err := f.attempt(m.call, bound, v)
			if n > 0 && !slices.Contains(shared, name) && !slices.Contains(own, name) {
				t.Errorf("%s reaches %d rows of another workspace", name, n)
			}
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s of another workspace: %v, want not found", name, err)
			}
			n, err = f.attempt(m.call, v.bound, v)
			if m.organizationWide && n > 0 {
				t.Errorf("%s reaches the organization from within a workspace", name)
			}
			if !m.organizationWide && (n == 0 || err != nil) {
				t.Errorf("%s within its own workspace: %d rows, %v", name, n, err)
			}
		}
		for _, w := range ok(f.Workspaces(t.Context(), bound, store.Page{}))(t) {
			same(t, neighbour, w)
		}
		meta, _, err := f.Secret(t.Context(), bound, victimsSecret)
		if used := ok(meta, err)(t).UsedBy; len(used) != 0 {
			t.Errorf("a secret names connections of another workspace: %v", used)
		}
	})
}
