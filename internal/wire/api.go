package wire

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"claviger"
)

// Authenticator finds out who asks. from is where the call came from, as [Edge]
// decided it; the caller it answers carries it. A request without a valid
// credential is an *claviger.Error of KindUnauthenticated, a credential in two
// places one of KindUnreadable.
type Authenticator interface {
	Authenticate(r *http.Request, from claviger.Request) (claviger.Caller, error)
}

// Recorder writes an entry of the ledger. The entry's id and time are the
// recorder's to set.
type Recorder interface {
	Record(ctx context.Context, e claviger.Entry) error
}

// Config is what an [API] is made of.
type Config struct {
	Mux           *http.ServeMux // shared by the surfaces of one listener
	Title         string
	Version       string
	Description   string
	Authenticator Authenticator
	Recorder      Recorder    // writes down tokens of the wrong kind
	Idempotency   Idempotency // nil: Idempotency-Key is not honoured
	// Prints keys what is kept of a request with an Idempotency-Key, to know it again:
	// its body may be a short password, which a plain hash would give away.
	Prints claviger.Secret
	Encode Encoder // nil: [NativeError]
	Log    *slog.Logger
	Random io.Reader        // nil: crypto/rand
	Now    func() time.Time // nil: time.Now
	// LenientQuery lets unknown query parameters pass, for surfaces whose clients
	// send their own. Otherwise they are a 422 that names them.
	LenientQuery bool
}

// API is one surface: its operations on a mux, their OpenAPI document and the
// register of its routes. Mount all routes before serving.
type API struct {
	huma   huma.API
	config Config
	routes []Route
	doc    func() ([]byte, error)
}

// New makes a surface without routes.
func New(c Config) (*API, error) {
	if c.Mux == nil || c.Authenticator == nil || c.Recorder == nil || c.Log == nil {
		return nil, errors.New("wire: a surface needs a mux, an authenticator, a recorder and a log")
	}
	if c.Encode == nil {
		c.Encode = NativeError
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	setUpHuma()
	a := &API{config: c, huma: humago.New(exact{c.Mux}, humaConfig(c))}
	a.doc = sync.OnceValues(a.renderOpenAPI)
	return a, nil
}

// Route is what is known of one endpoint, apart from its shapes.
type Route struct {
	Method      string // "" on a raw route means any method
	Path        string // a ServeMux pattern without method, "/v1/connections/{id}"
	Name        string // the OpenAPI operationId
	Summary     string
	Description string
	Tags        []string
	// Verb is what the gate decides on; empty only where nothing is decided.
	Verb claviger.Verb
	// Kinds are the kinds of token that may reach the route; any other gets 403
	// wrong_token_kind. Empty: every kind.
	Kinds  []claviger.CallerKind
	Status int // of a success; 0: 200
	// Public routes need no token: their handlers get a Caller that has nothing but
	// From.
	Public bool
	// OwnAuth routes find their caller themselves, because the token may stand in
	// other places than the usual headers. Their handlers, too, get nothing but From.
	OwnAuth bool
	// NotIdempotent takes a POST out of Idempotency-Key handling.
	NotIdempotent bool
	// MaxBody caps the request body in bytes, and by the MiB the values in it; 0: 1 MiB; negative: no cap, raw routes
	// only.
	MaxBody int64
	// BodyTypes are the media types the body may have; nil: application/json. Only
	// JSON is checked for form before the handler sees it.
	BodyTypes []string
	// Raw is set by [HandleRaw].
	Raw bool
	// Hidden keeps the route out of the OpenAPI document.
	Hidden bool
}

// Routes lists every mounted route in the order of mounting.
func (a *API) Routes() []Route { return slices.Clone(a.routes) }

// Handle mounts f. In is a struct with fields tagged path, query or header and,
// for a body, a field Body; Out has a field Body and may have header fields, a
// Status, and, if it shows a secret once, a method Redacted.
//
// f runs only after the token has been verified, its kind has been admitted and the
// input has passed its schema. Whatever error it returns is answered through
// [claviger.AsError].
func Handle[In, Out any](a *API, r Route, f func(ctx context.Context, caller claviger.Caller, in *In) (*Out, error)) {
	if r.Status == 0 {
		r.Status = http.StatusOK
	}
	a.routes = append(a.routes, r)
	huma.Register(a.huma, a.operation(r), func(ctx context.Context, in *In) (*Out, error) {
		x := exchangeOf(ctx)
		out, err := idempotently(ctx, x, func() (*Out, error) { return f(ctx, x.caller, in) })
		if err != nil {
			return nil, x.failure(err)
		}
		return out, nil
	})
}

// HandleRaw mounts a route whose handler writes the answer itself: streams and
// pages. Failures go through [WriteError]. A path that ends in "/{name...}" is
// mounted without that last part too, where the router would redirect.
func HandleRaw(a *API, r Route, f func(w http.ResponseWriter, r *http.Request, caller claviger.Caller)) {
	r.Raw = true
	a.routes = append(a.routes, r)
	h := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		req, x := a.enter(w, req, r)
		if err := a.admit(req, x); err != nil {
			x.write(w, err)
			return
		}
		req.Body = limitBody(w, req, r.MaxBody)
		f(w, req, x.caller)
	})
	a.config.Mux.Handle(pattern(r.Method, r.Path), h)
	if i := strings.LastIndex(r.Path, "/{"); i > 0 && strings.HasSuffix(r.Path, "...}") {
		a.config.Mux.Handle(pattern(r.Method, r.Path[:i]), h)
	}
}

// exact is a mux for which a path that ends in a slash is that path alone and nothing
// below it.
type exact struct{ *http.ServeMux }

// HandleFunc implements humago.Mux.
func (m exact) HandleFunc(pattern string, f func(http.ResponseWriter, *http.Request)) {
	if strings.HasSuffix(pattern, "/") {
		pattern += "{$}"
	}
	m.ServeMux.HandleFunc(pattern, f)
}

func pattern(method, path string) string {
	if method == "" {
		return path
	}
	return method + " " + path
}

// admit finds the caller of a route and checks the kind of its token.
func (a *API) admit(r *http.Request, x *exchange) error {
	x.caller = claviger.Caller{Kind: claviger.CallerNobody, From: x.from}
	if x.route.Public || x.route.OwnAuth {
		return nil
	}
	caller, err := a.config.Authenticator.Authenticate(r, x.from)
	if err != nil {
		return err
	}
	x.caller = caller
	return a.Admit(r.Context(), x.route, caller)
}

// Admit checks that the caller's kind of token may reach the route, and writes a
// refusal down. Routes that find their caller themselves call it with the caller
// they found.
func (a *API) Admit(ctx context.Context, r Route, caller claviger.Caller) error {
	if len(r.Kinds) == 0 || slices.Contains(r.Kinds, caller.Kind) {
		return nil
	}
	refusal := claviger.Errorf(claviger.KindDenied, "wrong_token_kind", "A token of kind %q cannot be used here. Use one of: %s.", caller.Kind, kindList(r.Kinds))
	entry := claviger.Entry{
		Organization: caller.Scope.Organization(), Workspace: caller.Scope.Workspace(),
		ActorKind: caller.Kind, ActorID: caller.ID, Verb: r.Verb, ResourceType: "route", ResourceID: r.Name,
		Outcome: claviger.OutcomeDenied, Code: refusal.Code, RequestID: caller.From.ID,
	}
	if caller.From.Address.IsValid() {
		entry.Address = caller.From.Address.String()
	}
	if err := a.config.Recorder.Record(ctx, entry); err != nil {
		return err
	}
	return refusal
}

func kindList(kinds []claviger.CallerKind) string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = string(k)
	}
	return strings.Join(names, ", ")
}
