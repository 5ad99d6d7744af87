package authn

import "claviger"

// System answers the caller that claviger itself is when it keeps an organization's
// tokens fresh, revokes those of deleted connections, makes a system's slot usable when its
// secrets are given, verifies what vendors send and acts on it, hands a command line the key
// that a person approved, replaces an encryption key that has sealed enough, and asks an
// organization's provider who signs in. It may do that and nothing else, and every act of
// it is in the ledger.
// Only package app may call it.
func System(organization claviger.OrganizationID) claviger.Caller {
	rights, _ := claviger.PermissionsOf(claviger.ConnectionsRefresh, claviger.ConnectionsRevoke, claviger.TokensMint,
		claviger.SystemsWrite, claviger.ConnectionsUpdate,
		claviger.WebhooksReceive, claviger.WebhooksProcess, claviger.ActionsRun, claviger.SecretsWrite, claviger.KeysRotate,
		claviger.SessionsCreate)
	return claviger.Caller{
		Kind: claviger.CallerSystem, ID: "system", Scope: claviger.Authenticated(organization, ""), Permissions: rights,
	}
}
