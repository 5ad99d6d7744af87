package authn

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"time"

	"claviger"
	"claviger/internal/store"
)

// minClientSecret is the shortest client secret that an operator may fix.
const minClientSecret = 32

// BootstrapConfig is the input of [Bootstrap]. The zero ClientID and ClientSecret
// are made at random.
type BootstrapConfig struct {
	ClientID     string
	ClientSecret claviger.Secret
	Prints       claviger.Secret // as in [Config]
	Now          func() time.Time
	Random       io.Reader
}

// Bootstrapped is what a first start makes. Its secrets are shown this once and kept
// as hashes only.
type Bootstrapped struct {
	Organization claviger.OrganizationID
	Workspace    claviger.WorkspaceID
	User         claviger.UserID
	Application  claviger.ApplicationID
	ClientID     string
	ClientSecret claviger.Secret
	APIKey       claviger.Secret
	OwnerLink    claviger.Secret // the token of the link by which the owner chooses how to sign in
}

// Bootstrap fills an empty database, in one transaction with its ledger entry: the
// instance's organization and workspace, both named "default", an owner, an
// application and an API key with the owner's rights. It answers nil if there is an
// organization already. Of many nodes that start at once one does it; there is no
// default password and nothing to claim over the network.
func Bootstrap(ctx context.Context, db *store.DB, ledger Ledger, c BootstrapConfig) (*Bootstrapped, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	if err := checkFixed(c); err != nil {
		return nil, err
	}
	if orgs, err := db.Organizations(ctx, store.Page{Limit: 1}); err != nil || len(orgs) > 0 {
		return nil, err
	}
	s, err := newSeedRows(c, db.Regions())
	if err != nil {
		return nil, err
	}
	system := claviger.Caller{
		Kind: claviger.CallerSystem, ID: "bootstrap", Scope: claviger.Authenticated(s.organization.ID, ""),
		Role: claviger.RoleOwner, Permissions: claviger.RoleOwner.Permissions(), InstanceAdmin: true,
	}
	resource := claviger.Resource{Type: "organization", ID: string(s.organization.ID), Organization: s.organization.ID}
	err = ledger.Change(ctx, system, claviger.OrganizationsCreate, resource, func(tx *store.Tx) error {
		return s.write(ctx, tx, system.Scope)
	})
	if errors.Is(err, store.ErrConflict) {
		return nil, nil // another node was first: there is one instance organization
	}
	if err != nil {
		return nil, err
	}
	return s.shown(), nil
}

func checkFixed(c BootstrapConfig) error {
	if c.ClientID == "" && c.ClientSecret.Empty() {
		return nil
	}
	if c.ClientID == "" || c.ClientSecret.Empty() {
		return claviger.Invalid("bootstrap.client", "invalid_settings", "Set both the bootstrap client id and the client secret, or neither.")
	}
	if len(c.ClientID) > maxName {
		return claviger.Invalid("bootstrap.client.id", "invalid_settings", "The bootstrap client id has more than %d characters.", maxName)
	}
	short := false
	c.ClientSecret.Use(func(b []byte) { short = len(b) < minClientSecret })
	if short {
		return claviger.Invalid("bootstrap.client.secret", "invalid_settings", "The bootstrap client secret needs at least %d characters.", minClientSecret)
	}
	return nil
}

// seedRows are the rows of a first start.
type seedRows struct {
	organization claviger.Organization
	workspace    claviger.Workspace
	user         claviger.User
	application  claviger.Application
	key          claviger.APIKey
	link         claviger.SetupLink
	clientSecret claviger.Secret
	apiKey       claviger.Secret
	ownerLink    claviger.Secret
}

func newSeedRows(c BootstrapConfig, regions []claviger.RegionID) (*seedRows, error) {
	now := c.Now()
	ids := map[string]string{}
	for _, prefix := range []string{claviger.PrefixOrganization, claviger.PrefixWorkspace, claviger.PrefixUser, claviger.PrefixApplication, claviger.PrefixKey} {
		id, err := claviger.NewID(prefix, now, c.Random)
		if err != nil {
			return nil, err
		}
		ids[prefix] = id
	}
	org := claviger.OrganizationID(ids[claviger.PrefixOrganization])
	s := &seedRows{
		organization: claviger.Organization{ID: org, Name: "default", Instance: true, CreatedAt: now},
		workspace: claviger.Workspace{
			ID: claviger.WorkspaceID(ids[claviger.PrefixWorkspace]), Organization: org, Name: "default", Canonical: "default",
			Region: defaultRegion(regions), Version: 1, CreatedAt: now, UpdatedAt: now,
		},
		user: claviger.User{
			ID: claviger.UserID(ids[claviger.PrefixUser]), Organization: org, Name: "Owner", Email: founderEmail,
			Role: claviger.RoleOwner, Version: 1, CreatedAt: now, UpdatedAt: now,
		},
		application: claviger.Application{
			ID: claviger.ApplicationID(ids[claviger.PrefixApplication]), Organization: org, Name: "default", CreatedAt: now,
		},
	}
	s.key = claviger.APIKey{
		ID: claviger.KeyID(ids[claviger.PrefixKey]), Organization: org, User: s.user.ID, CreatedBy: string(s.user.ID),
		Name: "owner", Permissions: claviger.RoleOwner.Permissions(), CreatedAt: now,
	}
	var err error
	if s.ownerLink, s.link, err = NewSetupLink(org, s.user.ID, now, c.Random); err != nil {
		return nil, err
	}
	return s, s.makeSecrets(c)
}

// makeSecrets gives the application its client id and secret, fixed or random, and
// the API key its value; the rows keep the hashes.
func (s *seedRows) makeSecrets(c BootstrapConfig) (err error) {
	if s.apiKey, s.key.Hash, s.key.Hint, err = NewAPIKey(c.Random); err != nil {
		return err
	}
	if c.ClientID == "" {
		s.application.ClientID = string(s.application.ID)
		s.clientSecret, s.application.SecretHash, err = NewClientSecret(c.Random)
		return err
	}
	s.application.ClientID, s.clientSecret = c.ClientID, c.ClientSecret
	s.clientSecret.Use(func(b []byte) { s.application.SecretHash = chosenHash(c.Prints, b) })
	return nil
}

func (s *seedRows) write(ctx context.Context, tx *store.Tx, scope claviger.Scope) error {
	if err := tx.CreateOrganization(ctx, s.organization); err != nil {
		return err
	}
	if err := tx.CreateWorkspace(ctx, scope, s.workspace); err != nil {
		return err
	}
	if err := tx.CreateUser(ctx, scope, s.user); err != nil {
		return err
	}
	if err := tx.CreateApplication(ctx, scope, s.application); err != nil {
		return err
	}
	if err := tx.CreateSetupLink(ctx, scope, s.link); err != nil {
		return err
	}
	return tx.CreateAPIKey(ctx, scope, s.key)
}
