package broker

import (
	"context"
	"maps"
	"net/url"
	"slices"

	"claviger"
	"claviger/internal/catalog"
	"claviger/internal/gate"
	"claviger/internal/vault"
)

// discover finds what the connector learns only from a person's consent: the host of the
// account's API, the company, the tenant. It comes before the token is used for anything
// else, and decides where the credential may go from then on.
func (r *redemption) discover(ctx context.Context, rawQuery string) error {
	b, draft, method := r.broker, &r.flow.Draft, r.live.method
	if len(method.OAuth.Discover) == 0 {
		return nil
	}
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return badCallback("bad_callback", "Its query cannot be read")
	}
	known := maps.Clone(draft.Settings)
	if r.flow.Reconnect && r.flow.AllowAccountChange {
		for _, d := range method.OAuth.Discover {
			delete(known, d.Variable)
		}
	}
	settings, err := catalog.Discover(r.live.connector, method, known, catalog.Sources{
		Token: r.config.Tree(r.answer), Callback: query,
		Ask: func(d *claviger.Discovery, address string) (any, error) { return r.ask(ctx, d, address) },
	})
	if err != nil {
		return err
	}
	draft.Settings = settings
	if r.live, err = b.flowLive(ctx, r.caller, &r.flow); err != nil {
		return err
	}
	draft.Destination = r.live.place
	r.live.conn.Destination, r.live.moved = draft.Destination, false
	r.config, err = b.oauthConfig(ctx, r.caller.Scope, r.live)
	return err
}

// ask makes the call of one step, under a ticket of its own.
func (r *redemption) ask(ctx context.Context, d *claviger.Discovery, address string) (tree any, err error) {
	res := r.flow.Resource()
	res.Host = hostOf(address)
	t, err := r.broker.gate.Admit(ctx, r.caller, r.flow.Verb(), res, "")
	if err != nil {
		return nil, err
	}
	defer func() { t.Done(gate.Ending{Err: err, Host: res.Host}) }()
	return r.broker.connecting.oauth.Ask(ctx, r.config, address, d.Scheme, r.creds[vault.AccessToken], nil)
}

// issuedTo adds the id of the organization's client to what is kept beside new tokens,
// where the vendor wants it on every call.
func issuedTo(m *claviger.AuthMethod, client claviger.OAuthClient, kept claviger.Credentials) claviger.Credentials {
	names := slices.ContainsFunc(m.Inject, func(in claviger.Injection) bool {
		return slices.Contains(slices.Concat(in.Value.Names(), in.Username.Names(), in.Password.Names()), catalog.ClientID)
	})
	if !names || m.BringsClient() {
		return kept
	}
	out := claviger.Credentials{vault.IssuedTo: claviger.NewSecretString(client.ID)}
	maps.Copy(out, kept)
	return out
}

// asClient answers credentials in which the id of the organization's client has the name
// that injections know.
func asClient(creds claviger.Credentials) claviger.Credentials {
	if creds[vault.IssuedTo].Empty() || !creds[catalog.ClientID].Empty() {
		return creds
	}
	out := maps.Clone(creds)
	out[catalog.ClientID] = creds[vault.IssuedTo]
	return out
}
