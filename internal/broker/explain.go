package broker

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"claviger"
	"claviger/internal/catalog"
	"claviger/internal/inject"
)

// Explain answers what a call would do, without making it: nothing is opened, nothing
// is sent. Why it would be denied is an answer, not an error; a connection that is not
// the caller's is not found here either.
func (b *Broker) Explain(ctx context.Context, c claviger.Caller, q Question) (Explanation, error) {
	l, err := b.live(ctx, c, claviger.ConnectionsRead, q.Connection)
	if err != nil {
		return Explanation{}, err
	}
	verb := claviger.ConnectionsProxy
	if q.Action != "" {
		verb = claviger.ActionsRun
	}
	out := Explanation{Connection: l.conn, Verb: verb, Usage: l.conn.Usage}
	out.Policy = append(out.Policy, fmt.Sprintf("The caller is in scope: organization %s.", c.Scope.Organization()))
	if e := b.forecast(c, l, verb, q, &out); e != nil {
		out.Code, out.Message = e.FineCode(), e.Message
		return out, nil
	}
	out.Allowed = true
	return out, nil
}

// forecast takes the steps of a call up to the one that would reveal something.
func (b *Broker) forecast(c claviger.Caller, l *live, verb claviger.Verb, q Question, out *Explanation) *claviger.Error {
	if e := b.gate.Would(c, verb, l.resource); e != nil {
		return e
	}
	out.Policy = append(out.Policy, fmt.Sprintf("The token carries the permission %s.", verb))
	if e := l.refusal(b.publicURL, claviger.UsageAPI); e != nil {
		return e
	}
	out.Policy = append(out.Policy, "The connection is active and serves the usage api.")
	req, err := l.question(q)
	if err != nil {
		return claviger.AsError(err)
	}
	out.Host, out.Method, out.RateLimit = req.URL.Host, req.Method, l.connector.RateLimit
	out.Policy = append(out.Policy, fmt.Sprintf("The credential may travel to %s only, over TLS unless the instance opened that host.", claviger.Origin(l.base)))
	shown, err := inject.Apply(req, l.method, asClient(masks(l.conn.SecretKeys)), l.conn.Settings)
	if err != nil {
		// A pattern of injection that a mask does not fit, such as a cookie, is shown without.
		shown = req
	}
	out.URL, out.Headers = shown.URL.String(), map[string][]string{}
	for name, values := range shown.Header {
		out.Headers[name] = values
		if slices.Contains(l.injected, name) {
			out.Headers[name] = []string{redaction}
		}
	}
	return nil
}

// redaction stands wherever a credential would be.
const redaction = "***REDACTED***"

func masks(keys []string) claviger.Credentials {
	out := claviger.Credentials{}
	for _, k := range keys {
		out[k] = claviger.NewSecretString(redaction)
	}
	return out
}

// question makes the request that a question is about.
func (l *live) question(q Question) (*http.Request, error) {
	if q.Action == "" {
		method := q.Method
		if method == "" {
			method = http.MethodGet
		}
		path, query, _ := strings.Cut(q.Path, "?")
		return l.request(context.Background(), Forward{Method: method, Path: path, RawQuery: query, Header: http.Header{}})
	}
	action, err := l.action(q.Action)
	if err != nil {
		return nil, err
	}
	input := q.Input
	if input == nil {
		input = map[string]any{}
	}
	if action.Input != nil {
		if err := action.Input.Validate(input); err != nil {
			return nil, err
		}
	}
	if e := l.lacks(action); e != nil {
		return nil, e
	}
	return catalog.Request(l.connector, action, l.conn.Settings, input)
}
