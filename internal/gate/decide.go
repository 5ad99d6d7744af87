package gate

import (
	"context"
	"strings"

	"claviger"
	"claviger/internal/failpoint"
	"claviger/internal/store"
)

// Admit decides whether the caller may use a credential, writes "allowed" or
// "denied" into the ledger and answers the Ticket that the vault asks for. In strict
// mode the entry is durable when Admit returns. The caller of Admit must call
// [Ticket.Done] on every path.
//
// Errors: KindDenied for a missing permission or somebody's personal connection,
// KindNotFound for what lies outside the caller's scope, KindUnavailable with code
// audit_unavailable when the ledger cannot be written.
func (g *Gate) Admit(ctx context.Context, c claviger.Caller, v claviger.Verb, r claviger.Resource, action string) (*Ticket, error) {
	if err := decide(c, v, r); err != nil {
		return nil, g.deny(ctx, c, v, r, err)
	}
	t := &Ticket{gate: g, caller: c, resource: r, began: g.now()}
	t.entry = g.entry(c, v, r, t.began)
	t.entry.Action = action
	t.entry.Outcome = claviger.OutcomeAllowed
	var err error
	if t.begun, err = g.calls.add(ctx, &t.entry, g.strict); err != nil {
		return nil, err
	}
	return t, nil
}

// Check decides a plain read, which touches no secret. Only a denial is recorded.
func (g *Gate) Check(ctx context.Context, c claviger.Caller, v claviger.Verb, r claviger.Resource) error {
	if err := decide(c, v, r); err != nil {
		return g.deny(ctx, c, v, r, err)
	}
	return nil
}

// Refuse records a denial that the core found after the gate's own questions, such as
// a disabled connection or an egress rule, and answers cause as it came.
func (g *Gate) Refuse(ctx context.Context, c claviger.Caller, v claviger.Verb, r claviger.Resource, cause error) error {
	return g.deny(ctx, c, v, r, claviger.AsError(cause))
}

// Absent records that the caller asked for something that does not exist within its
// scope, and answers the same KindNotFound that a foreign object gets. Without the
// permission the answer is KindDenied, whether or not the object exists.
func (g *Gate) Absent(ctx context.Context, c claviger.Caller, v claviger.Verb, r claviger.Resource) error {
	if !c.May(v) {
		return g.deny(ctx, c, v, r, lacks(v))
	}
	r.Organization, r.Workspace = c.Scope.Organization(), c.Scope.Workspace()
	return g.deny(ctx, c, v, r, claviger.NotFound(noun(r.Type)))
}

// Change decides a management change and runs it in one transaction with its ledger
// entry: neither is ever there without the other. fn may run more than once and must
// have no effect but through tx. The Ticket it gets serves to seal, not to reveal.
func (g *Gate) Change(ctx context.Context, c claviger.Caller, v claviger.Verb, r claviger.Resource, fn func(*store.Tx, *Ticket) error) error {
	if err := decide(c, v, r); err != nil {
		return g.deny(ctx, c, v, r, err)
	}
	region, err := g.db.PlaceOf(ctx, r.Organization, r.Workspace)
	if err != nil {
		return err
	}
	return g.ChangeIn(ctx, region, c, v, r, fn)
}

// ChangeIn is Change in a place of the caller's choice, one of [store.DB.Places]: for what
// an organization does to the rows of all its regions, one after the other.
func (g *Gate) ChangeIn(ctx context.Context, region claviger.RegionID, c claviger.Caller, v claviger.Verb, r claviger.Resource, fn func(*store.Tx, *Ticket) error) error {
	if err := decide(c, v, r); err != nil {
		return g.deny(ctx, c, v, r, err)
	}
	err := g.db.InTx(ctx, region, func(tx *store.Tx) error {
		t := &Ticket{gate: g, caller: c, resource: r, began: g.now()}
		t.entry = g.entry(c, v, r, t.began)
		t.entry.Outcome = claviger.OutcomeSucceeded
		if err := fn(tx, t); err != nil {
			return err
		}
		failpoint.Hit("change.inside")
		return g.appendManaged(ctx, tx, region, append([]claviger.Entry{t.entry}, t.also...))
	})
	failpoint.Hit("change.after")
	if err == nil {
		return nil
	}
	if e := claviger.AsError(err); e.Kind == claviger.KindNotFound || e.Kind == claviger.KindDenied {
		return g.deny(ctx, c, v, r, e)
	}
	return err
}

// decide is the whole authorisation: permission, then tenancy, then ownership.
func decide(c claviger.Caller, v claviger.Verb, r claviger.Resource) *claviger.Error {
	if !c.May(v) {
		return lacks(v)
	}
	if v == claviger.OrganizationsCreate && !c.InstanceAdmin {
		return claviger.Errorf(claviger.KindDenied, "permission_denied", "Only the instance's administrator may do this.")
	}
	if !reaches(c.Scope, v, r) {
		if r.Workspace == "" && c.Scope.Organization() != "" && r.Organization == c.Scope.Organization() {
			return claviger.Errorf(claviger.KindDenied, "permission_denied", "This concerns the whole organization, and the token reaches one workspace only.")
		}
		return claviger.NotFound(noun(r.Type))
	}
	if r.Visibility == claviger.VisibilityPersonal && r.Owner != c.OwnerID() && !tends(c, v) {
		return personal(c, v)
	}
	return nil
}

// tends reports whether claviger itself looks after tokens: it keeps everybody's fresh
// and ends them at the vendor, and uses none.
func tends(c claviger.Caller, v claviger.Verb) bool {
	return c.Kind == claviger.CallerSystem && (v == claviger.ConnectionsRefresh || v == claviger.ConnectionsRevoke)
}

// reaches says whether r lies in the scope. What belongs to a whole organization can
// be read, not changed, by a token that is bound to one workspace: connectors and
// actions are of use to it.
func reaches(s claviger.Scope, v claviger.Verb, r claviger.Resource) bool {
	if s.Covers(r.Organization, r.Workspace) {
		return true
	}
	shared := v == claviger.ConnectorsRead || v == claviger.ActionsRead || v == claviger.OrganizationsRead
	return shared && r.Workspace == "" && s.Organization() != "" && s.Organization() == r.Organization
}

// personal answers what somebody else may do to a personal connection: those who
// administer users see it and may switch it off or delete it, the others do not know
// of it. Nobody but its owner uses it.
func personal(c claviger.Caller, v claviger.Verb) *claviger.Error {
	if !c.May(claviger.UsersUpdate) {
		return claviger.NotFound(noun("connection"))
	}
	switch v {
	case claviger.ConnectionsRead, claviger.ConnectionsDelete, claviger.ConnectionsDisable:
		return nil
	}
	return claviger.Errorf(claviger.KindDenied, "personal_connection", "This connection is personal: only its owner may use or change it.")
}

func lacks(v claviger.Verb) *claviger.Error {
	return claviger.Errorf(claviger.KindDenied, "permission_denied", "This needs the permission %s, which the token does not carry.", v)
}

func noun(resourceType string) string {
	if resourceType == "api_key" {
		return "API key"
	}
	return strings.ReplaceAll(resourceType, "_", " ")
}

// deny records the refusal and answers it. A denial must be recorded too, but a
// ledger that cannot take it does not turn a no into something else.
func (g *Gate) deny(ctx context.Context, c claviger.Caller, v claviger.Verb, r claviger.Resource, why *claviger.Error) error {
	e := g.entry(c, v, r, g.now())
	e.Outcome = claviger.OutcomeDenied
	e.Code = why.FineCode()
	// The denial belongs to the caller's own ledger: the owner of a foreign object
	// must not learn of it, nor the caller of the owner.
	e.Organization = c.Scope.Organization()
	if !c.Scope.Covers(r.Organization, r.Workspace) {
		e.Workspace = c.Scope.Workspace()
	}
	e.ResourceID = plainName(e.ResourceID)
	if r.Connection == "" { // else they are facts of a row
		e.Connector, e.Slot = plainName(e.Connector), plainName(e.Slot)
	}
	tidy(&e)
	if _, err := g.calls.add(ctx, &e, false); err != nil {
		g.log.WarnContext(ctx, "a denial could not be recorded", "requestId", c.From.ID)
	}
	return why
}

// Would answers what [Gate.Check] would refuse, and records nothing: for explaining.
func (g *Gate) Would(c claviger.Caller, v claviger.Verb, r claviger.Resource) *claviger.Error {
	return decide(c, v, r)
}
