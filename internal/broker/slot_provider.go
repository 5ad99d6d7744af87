package broker

import (
	"context"
	"net/url"
	"strings"

	"claviger"
)

// lend answers a provider's connection as a slot of a system uses it: it runs the system's
// actions, with the provider's own credential and only where the provider's connector
// sends that. A system that has an address must have it there.
func (b *Broker) lend(ctx context.Context, c claviger.Caller, s *claviger.System, l *live) (*live, error) {
	own, err := b.connector(ctx, c.Scope, s.Key, s.Connector)
	if err != nil {
		return nil, err
	}
	below, ok := belowBase(l.base, own.BaseURL.String())
	if !ok {
		return nil, claviger.Errorf(claviger.KindConflict, "destination_mismatch",
			"The system %s is at %s, where the provider's connection %q does not send its credential. Name a provider that is for it, or give the slot a credential of its own.", s.Key, own.BaseURL.String(), l.conn.Name)
	}
	lent, shape, connector := *l, *l.shape, *l.connector
	lent.shape, shape.connector, connector.Key = &shape, &connector, s.Key
	connector.Actions = make([]claviger.Action, len(own.Actions))
	for i, a := range own.Actions {
		if a.Path, err = claviger.ParseTemplate(below + a.Path.String()); err != nil {
			return nil, err
		}
		connector.Actions[i] = a
	}
	return &lent, nil
}

// belowBase answers the path of an address below a base, and whether it lies there. An
// address that is nowhere, as systems without one have it, lies everywhere.
func belowBase(base *url.URL, address string) (string, bool) {
	u, err := url.Parse(address)
	if err == nil && strings.HasSuffix(u.Hostname(), ".invalid") {
		return "", true
	}
	below, ok := strings.CutPrefix(strings.TrimSuffix(address, "/"), strings.TrimSuffix(base.String(), "/"))
	return below, ok && (below == "" || below[0] == '/')
}
