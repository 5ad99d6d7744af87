package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"claviger"
	"claviger/internal/catalog"
	"claviger/internal/gate"
)

// maxOutput bounds an action's answer, which is held whole.
const maxOutput = 10 << 20

// RunAction runs a typed action through a connection, or through the api slot of a
// system. The input is checked before anything is opened.
//
// Errors besides those of authorisation: KindInvalid for the input; the refusals of
// [claviger.Status]; KindUpstream and KindTimeout when the vendor was not reached. A
// vendor that answered with an error is a result, not an error.
func (b *Broker) RunAction(ctx context.Context, c claviger.Caller, in ActionRun) (ActionResult, error) {
	var l *live
	var err error
	switch {
	case in.System != "" && in.Connection != "":
		err = claviger.Invalid("systemKey", "ambiguous", "Name a connection or a system, not both.")
	case in.System != "":
		var s apiSlot
		s, err = b.apiSlot(ctx, c, claviger.ActionsRun, in.System, "")
		l = s.live
	case in.Connection == "":
		err = claviger.Invalid("connectionId", "required", "Name the connection to run the action through, or as systemKey the system whose api slot is meant.")
	default:
		l, err = b.usable(ctx, c, claviger.ActionsRun, in.Connection)
	}
	if err != nil {
		return ActionResult{}, err
	}
	return b.run(ctx, c, l, in)
}

// runInBackground is [Broker.RunAction] for work without a caller. It takes the slot for
// such work and no other.
func (b *Broker) runInBackground(ctx context.Context, c claviger.Caller, s syncSlot, identifier string, input map[string]any) (ActionResult, error) {
	return b.run(ctx, c, s.live, ActionRun{Identifier: identifier, Input: input})
}

func (b *Broker) run(ctx context.Context, c claviger.Caller, l *live, in ActionRun) (ActionResult, error) {
	action, err := l.action(in.Identifier)
	if err != nil {
		return ActionResult{}, err
	}
	if in.Input == nil {
		in.Input = map[string]any{}
	}
	if action.Input != nil {
		if err := action.Input.Validate(in.Input); err != nil {
			return ActionResult{}, err
		}
	}
	if e := l.lacks(action); e != nil {
		return ActionResult{}, b.gate.Refuse(ctx, c, claviger.ActionsRun, l.resource, e)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := b.throttle(ctx, l); err != nil {
		return ActionResult{}, err
	}
	return b.runAdmitted(ctx, c, l, action, in)
}

func (b *Broker) runAdmitted(ctx context.Context, c claviger.Caller, l *live, action *claviger.Action, in ActionRun) (out ActionResult, err error) {
	t, err := b.gate.Admit(ctx, c, claviger.ActionsRun, l.resource, in.Identifier)
	if err != nil {
		return ActionResult{}, err
	}
	ending := gate.Ending{Err: claviger.Errorf(claviger.KindInternal, "", "The call did not end.")}
	defer func() { t.Done(ending) }()
	began := b.now()
	s, body, err := b.exchange(ctx, t, l, action, in.Input)
	ending.Err = err
	if err != nil {
		return ActionResult{}, err
	}
	ending.StatusCode = s.response.StatusCode
	out = ActionResult{
		StatusCode: s.response.StatusCode, Duration: b.now().Sub(began),
		Succeeded: s.response.StatusCode < 400,
	}
	if catalog.Expired(l.connector, s.response.StatusCode, s.response.Header, body) {
		out.Succeeded = false
		b.noteFailure(ctx, t, l)
	}
	body, _ = s.scrub.Bytes(body)
	out.Output, out.Pagination = output(action, s.response.Header, body)
	if !out.Succeeded {
		ending.Err = claviger.Errorf(claviger.KindUpstream, "vendor_error", "The vendor answered with an error.")
	}
	return out, nil
}

// exchange sends an action's request, and again where that is safe and useful. The
// request is made and the credential opened anew for each attempt.
func (b *Broker) exchange(ctx context.Context, t *gate.Ticket, l *live, action *claviger.Action, input map[string]any) (sent, []byte, error) {
	repeatable := idempotent(action.Method) || action.Idempotent || action.ReadOnly
	fresh := false      // whether the access token was renewed for this call
	for n := 1; ; n++ { // the first attempt has its place in the rate limit already
		req, err := catalog.Request(l.connector, action, l.conn.Settings, input)
		if err != nil {
			return sent{}, nil, err
		}
		s, err := b.attempt(ctx, t, l, req)
		if err != nil {
			return sent{}, nil, err
		}
		body, err := readAll(s.response.Body, maxOutput)
		if err != nil {
			return sent{}, nil, err
		}
		if !fresh && l.refuses(s.response.StatusCode, s.response.Header, body) {
			fresh = true
			next, err := b.renewed(ctx, t, l)
			if err != nil {
				return sent{}, nil, err
			}
			if next != nil && b.throttle(ctx, next) == nil {
				l = next
				continue // refused for the token's sake, the request has had no effect
			}
		}
		pause, useful := b.again(l, s.response, n)
		if !repeatable || !useful || n >= attempts || b.wait(ctx, pause) != nil || b.throttle(ctx, l) != nil {
			return s, body, nil
		}
	}
}

// readAll reads a vendor's answer up to a cap and closes it.
func readAll(r io.ReadCloser, limit int64) ([]byte, error) {
	defer r.Close()
	body, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		if claviger.IsKind(err, claviger.KindTimeout) || claviger.IsKind(err, claviger.KindUpstream) {
			return nil, err
		}
		return nil, claviger.Errorf(claviger.KindUpstream, "unreachable", "The vendor's answer broke off.").With(err)
	}
	if int64(len(body)) > limit {
		return nil, claviger.Errorf(claviger.KindUpstream, "response_too_large", "The vendor's answer is larger than %d bytes. Use the proxy, which streams.", limit)
	}
	return body, nil
}

// output answers the body as JSON, a text as a JSON string, and where the next page
// begins.
func output(action *claviger.Action, header http.Header, body []byte) (json.RawMessage, *NextPage) {
	if len(bytes.TrimSpace(body)) == 0 {
		return json.RawMessage("null"), nil
	}
	var doc any
	if err := json.Unmarshal(body, &doc); err != nil {
		text, err := json.Marshal(strings.ToValidUTF8(string(body), "\uFFFD"))
		if err != nil {
			return json.RawMessage("null"), nil
		}
		return text, nil
	}
	if action.Pagination == nil {
		return body, nil
	}
	next := &NextPage{Param: action.Pagination.Param, Next: catalog.NextPage(action.Pagination, header, body)}
	if input, ok := catalog.PageInput(action); ok {
		next.Param = input
	}
	next.HasMore = next.Next != ""
	return body, next
}

// action finds the action that an identifier "connector.action" names.
func (l *live) action(identifier string) (*claviger.Action, error) {
	connector, key, ok := strings.Cut(identifier, ".")
	if !ok {
		return nil, claviger.Invalid("actionIdentifier", "invalid_format", "An action is named connector.action, for example github.get-user.")
	}
	if connector != l.connector.Key {
		return nil, claviger.Invalid("actionIdentifier", "connector_mismatch", "The connection is for %s, so it cannot run an action of another connector.", l.connector.Key)
	}
	a, ok := l.connector.Action(key)
	if !ok {
		return nil, claviger.Invalid("actionIdentifier", "unknown_action", "The connector %s has no such action. List them with GET /v1/actions?connector=%s.", l.connector.Key, l.connector.Key)
	}
	return a, nil
}

// lacks answers the refusal of an action whose scopes the credential was seen not to
// have, or nil. Nothing is refused where the vendor does not say what it granted.
func (l *live) lacks(action *claviger.Action) *claviger.Error {
	if l.method.Permissions == nil || len(l.conn.GrantedScopes) == 0 {
		return nil
	}
	needed := claviger.PermissionProbe{ForActions: l.method.Permissions.ForActions}
	missing := catalog.MissingScopes(&needed, l.conn.GrantedScopes, action.Key)
	if len(missing) == 0 {
		return nil
	}
	e := claviger.Invalid("connectionId", "insufficient_scope", "The connection's credential lacks permissions that this action needs.")
	e.Missing = missing
	return e
}

// Actions lists the actions of one connector, or of all, whose name or key has the
// search text in it.
func (b *Broker) Actions(ctx context.Context, c claviger.Caller, connector, search string) ([]ActionInfo, error) {
	if err := b.gate.Check(ctx, c, claviger.ActionsRead, orgWide(c, "action", connector)); err != nil {
		return nil, err
	}
	var from []*claviger.Connector
	if connector != "" {
		one, err := b.connector(ctx, c.Scope, connector, 0)
		if err != nil {
			return nil, err
		}
		from = []*claviger.Connector{one}
	} else {
		all, err := b.allConnectors(ctx, c.Scope)
		if err != nil {
			return nil, err
		}
		from = all
	}
	search = strings.ToLower(search)
	var out []ActionInfo
	for _, k := range from {
		for i := range k.Actions {
			a := &k.Actions[i]
			id := k.Key + "." + a.Key
			if search == "" || strings.Contains(id, search) || strings.Contains(strings.ToLower(a.Name), search) {
				out = append(out, ActionInfo{
					Identifier: id, Connector: k.Key, Name: a.Name, Description: a.Description,
					ReadOnly: a.ReadOnly, Input: a.InputJSON,
				})
			}
		}
	}
	return out, nil
}
