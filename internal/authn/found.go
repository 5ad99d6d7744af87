package authn

import (
	"context"
	"io"
	"time"

	"claviger"
	"claviger/internal/store"
)

// Found prepares a further organization: what is shown of it once, and the writing of
// its rows. It has what the first one gets from [Bootstrap], but does not administer
// the instance.
func Found(name string, regions []claviger.RegionID, now time.Time, random io.Reader) (*Bootstrapped, func(context.Context, *store.Tx) error, error) {
	s, err := newSeedRows(BootstrapConfig{Now: func() time.Time { return now }, Random: random}, regions)
	if err != nil {
		return nil, nil, err
	}
	s.organization.Name, s.organization.Instance = name, false
	scope := claviger.Authenticated(s.organization.ID, "")
	return s.shown(), func(ctx context.Context, tx *store.Tx) error { return s.write(ctx, tx, scope) }, nil
}

// shown answers what a person sees of a founding.
func (s *seedRows) shown() *Bootstrapped {
	return &Bootstrapped{
		Organization: s.organization.ID, Workspace: s.workspace.ID, User: s.user.ID,
		Application: s.application.ID, ClientID: s.application.ClientID,
		ClientSecret: s.clientSecret, APIKey: s.apiKey, OwnerLink: s.ownerLink,
	}
}
