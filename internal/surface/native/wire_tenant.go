package native

import (
	"time"

	"claviger"
	"claviger/api"
	"claviger/internal/broker"
)

func whoami(c claviger.Caller) api.Whoami {
	return api.Whoami{
		Object: "caller", Kind: string(c.Kind), ID: c.ID, TokenID: string(c.Token), OrganizationID: string(c.Scope.Organization()),
		WorkspaceID: string(c.Scope.Workspace()), UserID: string(c.User), Role: string(c.Role), InstanceAdmin: c.InstanceAdmin,
		Permissions: strs(c.Permissions.Verbs()), ExpiresAt: maybe(c.ExpiresAt),
	}
}

func organization(o claviger.Organization) api.Organization {
	return api.Organization{ID: string(o.ID), Object: "organization", Name: o.Name, CreatedAt: at(o.CreatedAt)}
}

func newOrganization(o broker.NewOrganization, setUpPage string) api.NewOrganization {
	return api.NewOrganization{
		Organization: organization(o.Organization), ClientID: o.ClientID,
		ClientSecret: shown(o.ClientSecret), APIKey: shown(o.APIKey), SetUpURL: setUpPage + shown(o.SetUp),
	}
}

func workspace(w claviger.Workspace) api.Workspace {
	return api.Workspace{
		ID: string(w.ID), Object: "workspace", OrganizationID: string(w.Organization), Name: w.Name, Region: string(w.Region),
		CreatedAt: at(w.CreatedAt), UpdatedAt: at(w.UpdatedAt),
	}
}

func user(u claviger.User) api.User {
	return api.User{
		ID: string(u.ID), Object: "user", Name: u.Name, Email: u.Email, Role: string(u.Role), Disabled: u.Disabled,
		CreatedAt: at(u.CreatedAt), UpdatedAt: at(u.UpdatedAt),
	}
}

func userChange(id string, in api.UpdateUser) broker.UserChange {
	ch := broker.UserChange{ID: claviger.UserID(id), Name: in.Name, Disabled: in.Disabled}
	if in.Role != nil {
		role := claviger.Role(*in.Role)
		ch.Role = &role
	}
	return ch
}

func application(a claviger.Application) api.Application {
	return api.Application{ID: string(a.ID), Object: "application", Name: a.Name, ClientID: a.ClientID, CreatedAt: at(a.CreatedAt)}
}

func keyRequest(in api.CreateAPIKey) broker.KeyRequest {
	r := broker.KeyRequest{
		Name: in.Name, Workspace: claviger.WorkspaceID(in.WorkspaceID), AllowedIPs: in.AllowedIPs,
		Scopes: each(in.Scopes, func(s string) claviger.Verb { return claviger.Verb(s) }),
	}
	if in.ExpiresAt != nil {
		r.ExpiresAt = *in.ExpiresAt
	}
	return r
}

func apiKey(k claviger.APIKey) api.APIKey {
	a := api.APIKey{
		ID: string(k.ID), Object: "api_key", Name: k.Name, Hint: k.Hint, WorkspaceID: string(k.Workspace), UserID: string(k.User),
		CreatedBy: k.CreatedBy, Scopes: strs(k.Permissions.Verbs()), AllowedIPs: []string{}, ExpiresAt: maybe(k.ExpiresAt),
		LastUsedAt: maybe(k.LastUsedAt), RevokedAt: maybe(k.RevokedAt), CreatedAt: at(k.CreatedAt),
	}
	for _, p := range k.AllowedIPs {
		a.AllowedIPs = append(a.AllowedIPs, p.String())
	}
	return a
}

func tokenSweep(in api.RevokeTokens) broker.TokenSweep {
	t := broker.TokenSweep{ID: claviger.TokenID(in.TokenID), Kind: claviger.CallerKind(in.Kind)}
	if in.Before != nil {
		t.Before = *in.Before
	}
	return t
}

func secret(m claviger.SecretMeta) api.Secret {
	return api.Secret{Object: "secret", Path: m.Path, Version: m.Version, UsedBy: strs(m.UsedBy), CreatedAt: at(m.CreatedAt), UpdatedAt: at(m.UpdatedAt)}
}

func encryption(e broker.EncryptionStatus) api.Encryption {
	return api.Encryption{
		Object: "encryption", Generation: e.Generation, Keys: e.Keys, Sealed: e.Sealed, Outdated: e.Outdated, RotatedAt: maybe(e.RotatedAt),
	}
}

func entryID(e claviger.Entry) string { return string(e.ID) }

// Entry answers a ledger entry in the shape of the interface, which an export of the
// ledger has too.
func Entry(e claviger.Entry) api.Entry {
	return api.Entry{
		ID: string(e.ID), Object: "audit_entry", Time: at(e.Time), OrganizationID: string(e.Organization), WorkspaceID: string(e.Workspace),
		Actor: api.Actor{Kind: string(e.ActorKind), ID: e.ActorID}, Verb: string(e.Verb),
		Resource: api.EntryResource{Type: e.ResourceType, ID: e.ResourceID}, ConnectionID: string(e.Connection), Connector: e.Connector,
		Action: e.Action, Host: e.Host, Outcome: string(e.Outcome), Code: e.Code, StatusCode: e.StatusCode,
		DurationMs: e.Duration.Milliseconds(), RequestID: e.RequestID, Address: e.Address, Usage: string(e.Usage), Slot: e.Slot,
	}
}

func auditFilter(in *listAudit) broker.AuditFilter {
	return broker.AuditFilter{
		From: in.From, To: in.To, Organization: claviger.OrganizationID(in.Organization), Workspace: claviger.WorkspaceID(in.WorkspaceID), ActorKind: claviger.CallerKind(in.ActorKind),
		ActorID: in.ActorID, Verb: claviger.Verb(in.Verb), ResourceType: in.ResourceType, ResourceID: in.ResourceID,
		Connection: claviger.ConnectionID(in.ConnectionID), Connector: in.Connector, Host: in.Host, Outcome: claviger.Outcome(in.Outcome),
		StatusCode: in.StatusCode, RequestID: in.RequestID, Address: in.Address, Usage: claviger.Usage(in.Usage), Slot: in.Slot,
		Code: in.Code, Action: in.Action,
		MinDuration: time.Duration(in.MinDuration) * time.Millisecond, MaxDuration: time.Duration(in.MaxDuration) * time.Millisecond,
	}
}
