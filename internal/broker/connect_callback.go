package broker

import (
	"context"
	"crypto/subtle"
	"errors"
	"slices"
	"strings"

	"claviger"
	"claviger/internal/catalog"
	"claviger/internal/failpoint"
	"claviger/internal/gate"
	"claviger/internal/jobs"
	"claviger/internal/oauth"
	"claviger/internal/store"
	"claviger/internal/vault"
)

// Return is the input of [Broker.Callback]: what a browser brought back from a vendor.
type Return struct {
	Organization claviger.OrganizationID // of the path
	Connector    string                  // of the path
	Method       string
	RawQuery     string
	Cookie       string
	From         claviger.Request
}

// Arrival is how an attempt to connect ended for the person, and what the browser is to
// hand to the application. The finish code stands here and nowhere else.
type Arrival struct {
	Flow       claviger.ConnectFlow
	Connector  string // its name
	Code       string // the finish code; empty if the attempt failed
	ReturnTo   string // the return address with session and code; empty if there is none
	Origin     string // of the return address, for postMessage
	Failure    *claviger.Error
	VendorSaid string // the vendor's own words for its refusal: plain, bounded, untrusted
}

// Callback takes what a vendor sent a browser back with. It redeems a code only if the
// state is unused, the browser is the one that was sent, and organization and connector
// of the path are those of the flow; else nothing is sent to anybody. The tokens are
// kept, sealed and of no use, until the application finishes the flow.
//
// A failure that belongs to a flow is in the Arrival; an error is one that does not.
func (b *Broker) Callback(ctx context.Context, in Return) (Arrival, error) {
	state, err := oauth.StateOf(in.Method, in.RawQuery)
	if err != nil {
		return Arrival{}, b.strange(ctx, in, err)
	}
	f, _, err := b.db.ConnectFlowByState(ctx, digest(state))
	if errors.Is(err, store.ErrNotFound) {
		return Arrival{}, b.strange(ctx, in, badCallback("unknown_state", "Its state is unknown, or an older link of the same connection"))
	}
	if err != nil {
		return Arrival{}, err
	}
	c := b.connecting.act(f.Organization, f.Workspace, string(f.ID), in.From)
	if err := b.belongs(&f, in); err != nil {
		return Arrival{}, b.gate.Refuse(ctx, c, f.Verb(), f.Resource(), err)
	}
	if f.Status != claviger.ConnectStarted {
		return b.comeAgain(context.WithoutCancel(ctx), c, &f)
	}
	r := redemption{broker: b, caller: c, flow: f, query: in.RawQuery}
	failpoint.Hit("connect.claim.before")
	if err := r.claim(ctx, state); err != nil {
		return Arrival{}, err
	}
	failpoint.Hit("connect.claim.after")
	ctx = context.WithoutCancel(ctx)
	a, err := r.run(ctx, in, state)
	return r.ended(ctx, a, err)
}

func badCallback(code, why string) *claviger.Error {
	return claviger.Errorf(claviger.KindUnreadable, code, "This is not an answer to a connection that was started in this browser. %s. Go back to the application and start again.", why)
}

// strange records, within bounds, a callback that belongs to no flow, in the ledger of
// the organization that it names if there is one.
func (b *Broker) strange(ctx context.Context, in Return, why error) error {
	if !b.connecting.refusals.AllowN(b.now(), 1) || !claviger.ValidID(claviger.PrefixOrganization, string(in.Organization)) {
		return why
	}
	if _, err := b.db.OrganizationByID(ctx, in.Organization); err != nil {
		return why
	}
	c := b.connecting.act(in.Organization, "", "", in.From)
	return b.gate.Refuse(ctx, c, claviger.ConnectionsCreate, claviger.Resource{Type: "connect_flow", Organization: in.Organization}, why)
}

// belongs answers why a callback is not the one that the flow waits for.
func (b *Broker) belongs(f *claviger.ConnectFlow, in Return) error {
	switch {
	case f.Organization != in.Organization || f.Draft.Connector != in.Connector:
		return badCallback("context_mismatch", "It came back to another connector's address")
	case !sameBrowser(f, in.Cookie):
		return badCallback("browser_mismatch", "It was started in another browser")
	case b.unfinished(f):
		return nil
	case f.Status != claviger.ConnectStarted:
		return badCallback("state_used", "It was used already")
	case !b.now().Before(f.ExpiresAt):
		return badCallback("state_expired", "Its ten minutes are over")
	}
	return nil
}

// redemption is one callback on its way to tokens that wait.
type redemption struct {
	broker   *Broker
	caller   claviger.Caller
	flow     claviger.ConnectFlow
	sealed   claviger.Sealed
	query    string // that the browser brought, for what the connector learns from it
	said     string // the vendor's words
	barren   bool   // the vendor's answer has no tokens
	answered bool   // the vendor has answered, and others may go on with that

	live   *live
	config oauth.Config
	client claviger.OAuthClient
	answer oauth.Raw // that the tokens came in
	tokens claviger.Tokens
	creds  claviger.Credentials
}

// claim uses the flow's state up: of several callbacks at once, on any node, one gets on.
func (r *redemption) claim(ctx context.Context, state string) error {
	b, c := r.broker, r.caller
	res, verb := r.flow.Resource(), r.flow.Verb()
	err := b.gate.Change(ctx, c, verb, res, func(tx *store.Tx, _ *gate.Ticket) error {
		next, err := tx.UpdateConnectFlow(ctx, c.Scope, r.flow.ID, func(now claviger.ConnectFlow, sealed claviger.Sealed) (claviger.ConnectFlow, claviger.Sealed, error) {
			if now.Status != claviger.ConnectStarted || subtle.ConstantTimeCompare(now.StateHash, digest(state)) != 1 {
				return now, nil, badCallback("state_used", "It was used already")
			}
			now.Status, r.sealed = claviger.ConnectExchanging, sealed
			now.ExpiresAt = b.now().Add(flowLife)
			return now, sealed, nil
		})
		r.flow = next
		return err
	})
	if claviger.IsKind(err, claviger.KindUnreadable) {
		return b.gate.Refuse(ctx, c, verb, res, err)
	}
	return err
}

func (r *redemption) run(ctx context.Context, in Return, state string) (Arrival, error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	b := r.broker
	var err error
	if r.live, err = b.flowLive(ctx, r.caller, &r.flow); err != nil {
		return Arrival{}, err
	}
	if r.config, err = b.oauthConfig(ctx, r.caller.Scope, r.live); err != nil {
		return Arrival{}, err
	}
	back, err := oauth.ParseCallback(r.config, state, in.Method, in.RawQuery)
	if err != nil {
		return Arrival{}, err
	}
	if err := back.Err(); err != nil {
		r.said = back.Description
		return Arrival{}, err
	}
	if err := r.redeem(ctx, back); err != nil {
		return Arrival{}, err
	}
	code, err := b.finishCode(r.flow.Delivery)
	if err != nil {
		return Arrival{}, err
	}
	return r.conclude(ctx, code)
}

// conclude finds out whose tokens they are and keeps them until the flow is finished.
func (r *redemption) conclude(ctx context.Context, code string) (Arrival, error) {
	if r.flow.Device == nil { // a device's flow learns nothing from its answer
		if err := r.discover(ctx, r.query); err != nil {
			return Arrival{}, err
		}
	}
	if err := r.identify(ctx); err != nil {
		return Arrival{}, err
	}
	r.note(ctx)
	return r.broker.await(ctx, r.caller, &r.flow, r.live, r.creds, code)
}

// redeem trades the code for tokens, once, under a ticket.
func (r *redemption) redeem(ctx context.Context, back oauth.Callback) (err error) {
	b := r.broker
	res := r.flow.Resource()
	res.Host = hostOf(r.config.Endpoints.Token)
	t, err := b.gate.Admit(ctx, r.caller, r.flow.Verb(), res, "")
	if err != nil {
		return err
	}
	ending := gate.Ending{Err: claviger.Errorf(claviger.KindInternal, "", "The exchange did not end."), Host: res.Host}
	defer func() {
		ending.Err = err
		t.Done(ending)
	}()
	values, err := b.vault.OpenFlow(ctx, t, &r.flow, r.sealed)
	if err != nil {
		return err
	}
	if r.client, err = b.vault.ClientOf(ctx, t, r.live.connector.Key, r.live.method, values); err != nil {
		return err
	}
	failpoint.Hit("connect.exchange.before")
	attempt := b.connecting.oauth.Exchange(ctx, r.config, r.client, oauth.Code{
		Code: back.Code, Verifier: values[verifierKey], RedirectURI: r.flow.RedirectURI,
	}, r.proof(values))
	failpoint.Hit("connect.exchange.after")
	ending.StatusCode = attempt.Raw.Status
	if attempt.Outcome != oauth.Answered {
		return attempt.Err
	}
	if err := r.keep(ctx, t, attempt.Raw, values); err != nil {
		return err
	}
	return r.take(ctx, attempt.Raw, values)
}

// proof answers what a request of the flow proves its key with, nil for none.
func (r *redemption) proof(values claviger.Credentials) *oauth.Proof {
	if !r.config.Rules.DPoP {
		return nil
	}
	return &oauth.Proof{Key: values[vault.ProofKey]}
}

// take reads the tokens of an answer, to be kept with what the flow brings.
func (r *redemption) take(ctx context.Context, raw oauth.Raw, values claviger.Credentials) (err error) {
	r.answer = raw
	if r.tokens, err = oauth.Parse(r.config, r.client, raw); err != nil {
		r.barren = true
		if claviger.IsKind(err, claviger.KindReauthorize) { // of a grant that has not begun
			err = claviger.Errorf(claviger.KindUpstream, "oauth_code_refused",
				"The vendor did not take the code that it had given a moment ago. Start again. If that does not help, the redirect URI or the OAuth client that is registered there is another one.").With(err)
		}
		return err
	}
	var grant store.Grant
	r.creds, grant = r.broker.vault.Issued(&r.flow.Draft, r.config.Rules, r.tokens, r.flow.Scopes, issuedTo(r.live.method, r.client, brought(values)))
	r.flow.Issued = claviger.Issue{
		IssuedAt: grant.IssuedAt, ExpiresAt: grant.ExpiresAt, RefreshExpiresAt: grant.RefreshExpiresAt, KeepAt: grant.KeepAt,
	}
	return r.checkIDToken(ctx)
}

func (r *redemption) checkIDToken(ctx context.Context) error {
	if !r.config.Rules.OIDC.IDToken {
		return nil
	}
	client := r.broker.connecting.oauth
	keys, err := client.Keys(ctx, r.config)
	if err != nil {
		return err
	}
	claims, err := client.VerifyIDToken(r.config, r.client, keys, r.tokens.ID, r.flow.Nonce)
	if err != nil {
		return err
	}
	r.flow.Draft.Account = claviger.Account{ID: claims.Subject, Name: claims.Name}
	return nil
}

// identify finds out whose account it is: by the method's test, which also proves the
// token, or by userinfo. A vendor that is down now does not spoil a consent.
func (r *redemption) identify(ctx context.Context) error {
	b, draft := r.broker, &r.flow.Draft
	var p probed
	switch {
	case r.live.method.Test != nil:
		var err error
		if p, err = r.test(ctx); err != nil {
			return err
		}
		if p.err != nil && p.err.Code == "invalid_credentials" {
			return claviger.Errorf(claviger.KindUpstream, "invalid_credentials", "The vendor issued a token and then did not accept it. Start again.")
		}
		if p.account.ID != "" {
			draft.Account = p.account
		}
		draft.Health, draft.LastError = verdict(p)
		draft.LastCheckedAt = b.now()
	case draft.Account.ID == "" && r.config.Endpoints.Userinfo != "":
		account, err := b.connecting.oauth.Userinfo(ctx, r.config, r.tokens.Access, "", r.proof(r.creds))
		if err != nil {
			return err
		}
		draft.Account = claviger.Account{ID: account.ID, Name: account.Name}
	}
	if err := b.sameAccount(ctx, r.caller, &r.flow); err != nil {
		return err
	}
	r.scopes(p)
	return nil
}

func (r *redemption) test(ctx context.Context) (p probed, err error) {
	b := r.broker
	res := r.flow.Resource()
	res.Host = r.live.base.Host
	t, err := b.gate.Admit(ctx, r.caller, r.flow.Verb(), res, "")
	if err != nil {
		return p, err
	}
	p = b.probe(ctx, r.live, r.creds, nil)
	ending := gate.Ending{StatusCode: p.status, Host: p.host}
	if p.err != nil {
		ending.Err = p.err
	}
	t.Done(ending)
	return p, nil
}

// sameAccount refuses to put another account behind a connection's id, unless the
// reconnect allows it (the person who asked chose so).
func (b *Broker) sameAccount(ctx context.Context, c claviger.Caller, f *claviger.ConnectFlow) error {
	if !f.Reconnect || f.AllowAccountChange {
		return nil
	}
	old, _, err := b.db.Connection(ctx, c.Scope, f.Draft.ID)
	if err != nil {
		return err
	}
	if old.Account.ID == "" || old.Account.ID == f.Draft.Account.ID {
		return nil
	}
	if f.Draft.Account.ID == "" {
		return claviger.Errorf(claviger.KindConflict, "account_unknown",
			"The vendor did not say whose account this is, so it could be another one than before. Start again in a moment.")
	}
	return claviger.Errorf(claviger.KindConflict, "account_mismatch",
		"This is another account of the vendor than the one that was connected before. Sign in to that one and start again.")
}

// scopes notes what was granted, and what is missing of what was asked for.
func (r *redemption) scopes(p probed) {
	draft := &r.flow.Draft
	asked := r.flow.Scopes
	if r.tokens.Scopes == nil && p.scopes != nil {
		draft.GrantedScopes = p.scopes // the vendor's own list says more than its silence
	}
	want := claviger.PermissionProbe{Required: asked}
	if missing := catalog.MissingScopes(&want, draft.GrantedScopes); len(missing) > 0 {
		draft.Health = claviger.HealthUnhealthy
		draft.LastError = &claviger.Fault{Code: "insufficient_scope", Message: "The person granted less than was asked for. Missing: " + strings.Join(missing, ", ") + "."}
	}
}

// note flags in the ledger a grant that is wider than what was asked for.
func (r *redemption) note(ctx context.Context) {
	wider := len(r.flow.Scopes) > 0 && slices.ContainsFunc(r.flow.Draft.GrantedScopes, func(s string) bool { return !slices.Contains(r.flow.Scopes, s) })
	if !wider {
		return
	}
	res := r.flow.Resource()
	e := claviger.Entry{
		Organization: res.Organization, Workspace: res.Workspace, ActorKind: r.caller.Kind, ActorID: r.caller.ID, Verb: r.flow.Verb(),
		ResourceType: res.Type, ResourceID: res.ID, Connection: res.Connection, Connector: res.Connector,
		Outcome: claviger.OutcomeSucceeded, Code: "wider_scope", RequestID: r.caller.From.ID,
	}
	if err := r.broker.gate.Record(ctx, e); err != nil {
		r.broker.log.WarnContext(ctx, "a wider grant could not be recorded", "flow", res.ID, "error", err)
	}
}

// failed ends a flow whose callback came to nothing, and answers what the person sees.
// Tokens that had come by then must not live on at the vendor.
func (b *Broker) failed(ctx context.Context, c claviger.Caller, r *redemption, cause error) (Arrival, error) {
	f, e := &r.flow, claviger.AsError(cause)
	if e.Kind == claviger.KindInternal || e.Kind == claviger.KindUnavailable {
		b.log.WarnContext(ctx, "a callback failed", "flow", string(f.ID), "error", cause)
	}
	_ = b.gate.Refuse(ctx, c, f.Verb(), f.Resource(), e) // answers e itself
	return b.endFlow(ctx, c, f, claviger.ConnectFailed, e, r.said, r.barren)
}

// endFlow wipes a flow and leaves the reason with it and its session. Tokens that wait in
// it, or in an answer that is not known to be barren, are a job's from then on.
func (b *Broker) endFlow(ctx context.Context, c claviger.Caller, f *claviger.ConnectFlow, status claviger.ConnectStatus, why *claviger.Error, said string, barren bool) (Arrival, error) {
	region, err := b.db.PlaceOf(ctx, f.Organization, f.Workspace)
	if err != nil {
		return Arrival{}, err
	}
	fault, shared := &claviger.Fault{Code: why.FineCode(), Message: why.Message}, b.sharesGrant(ctx, c, f)
	err = b.db.InTx(ctx, region, func(tx *store.Tx) error {
		next, err := tx.UpdateConnectFlow(ctx, c.Scope, f.ID, func(now claviger.ConnectFlow, sealed claviger.Sealed) (claviger.ConnectFlow, claviger.Sealed, error) {
			next := now
			next.Status, next.Fault, next.Said = status, fault, said
			if shared || barren || now.Status.Final() {
				return next, nil, nil
			}
			if now.Status == claviger.ConnectAnswered { // the vendor's call may name what was found out
				next.Draft.Settings, next.Draft.Account = f.Draft.Settings, f.Draft.Account
			}
			sealed = b.condemnFlow(now, &next, sealed)
			return next, sealed, nil
		})
		if err == nil && next.Revoking != nil {
			err = b.insert(ctx, tx, jobRevokeFlow, givenUp{next.Organization, next.ID}, jobs.Options{Unique: string(next.ID)})
		}
		if err != nil {
			return err
		}
		if f.Session == "" {
			return b.stillWaiting(ctx, tx, c, f, fault)
		}
		_, err = tx.UpdateConnectSession(ctx, c.Scope, f.Session, func(s claviger.ConnectSession) (claviger.ConnectSession, error) {
			if !s.Status.Final() {
				s.Status, s.Fault = claviger.ConnectOpen, fault
				if next.FinishTries >= maxFinishTries {
					s.Status = claviger.ConnectFailed // somebody guesses: the page is closed
				}
			}
			return s, nil
		})
		return err
	})
	a := Arrival{Flow: *f, Connector: f.Draft.Connector, Failure: why, VendorSaid: said, Origin: origin(f.ReturnURL), ReturnTo: f.ReturnURL}
	return a, err
}

// stillWaiting leaves with a connection that still waits why the attempt came to nothing.
func (b *Broker) stillWaiting(ctx context.Context, tx *store.Tx, c claviger.Caller, f *claviger.ConnectFlow, fault *claviger.Fault) error {
	if !f.Existing {
		return nil
	}
	_, err := tx.UpdateConnection(ctx, c.Scope, f.Draft.ID, func(old claviger.Connection, sealed claviger.Sealed) (claviger.Connection, claviger.Sealed, error) {
		if old.Status == claviger.StatusPending {
			old.LastError = fault
		}
		return old, sealed, nil
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}
