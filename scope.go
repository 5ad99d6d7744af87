package claviger

// Scope is the reach of an authenticated caller: one organization and, if the
// token says so, one workspace of it. Every method of the store that touches a
// tenant's rows takes one and adds it to its conditions.
//
// Its fields are unexported and [Authenticated] is called by authentication
// alone, which the architecture test asserts: no other code can widen its own
// reach. The zero Scope reaches nothing.
type Scope struct {
	organization OrganizationID
	workspace    WorkspaceID
}

// Authenticated makes the Scope of a caller that has proven who it is. An empty
// workspace means all workspaces of the organization. Only package authn may call
// it.
func Authenticated(organization OrganizationID, workspace WorkspaceID) Scope {
	return Scope{organization: organization, workspace: workspace}
}

// Organization answers the tenant; empty only in the zero Scope.
func (s Scope) Organization() OrganizationID { return s.organization }

// Workspace answers the only workspace in reach, or "" for all of them.
func (s Scope) Workspace() WorkspaceID { return s.workspace }

// Covers reports whether something of the given organization and workspace lies
// within the scope. What belongs to the organization as a whole has an empty
// workspace, and a scope that is bound to a workspace does not cover it.
func (s Scope) Covers(organization OrganizationID, workspace WorkspaceID) bool {
	return s.organization != "" && s.organization == organization &&
		(s.workspace == "" || s.workspace == workspace)
}
