package mcp

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/modelcontextprotocol/go-sdk/auth"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"claviger"
	"claviger/internal/broker"
	"claviger/internal/wire"
)

// Prefix begins the paths of the surface.
const Prefix = "/mcp/"

// builderPath is the one endpoint: POST carries messages, DELETE ends a session. There
// is no GET: the server never speaks first, so nothing hangs on an open stream.
const builderPath = Prefix + "builder"

// maxMessage bounds a message: a patch may bring a whole document.
const maxMessage = 1 << 20

// Config is what the surface is made of. All members are required.
type Config struct {
	Broker    *broker.Broker
	PublicURL string // which site a browser's request may come from
	Version   string // of the program, for clients to show
	Log       *slog.Logger
}

// surface holds what the handlers need.
type surface struct {
	site     site
	sessions *sessions
	sdk      http.Handler
}

// Mount puts the surface on an API of its own, whose Encoder is [EncodeError].
func Mount(a *wire.API, c Config) error {
	if c.Broker == nil || c.PublicURL == "" || c.Version == "" || c.Log == nil {
		return errors.New("mcp: a broker, the public URL, a version and a log are required")
	}
	here, err := siteOf(c.PublicURL)
	if err != nil {
		return err
	}
	s := &surface{site: here, sessions: newSessions(c)}
	stream := sdk.NewStreamableHTTPHandler(serverOf, &sdk.StreamableHTTPOptions{
		JSONResponse: true, SessionTimeout: idleSession,
		// The SDK refuses names of other hosts on the loopback, and so a reverse proxy beside
		// us; site checks the name wherever we listen.
		DisableLocalhostProtection: true,
	})
	s.sdk = auth.RequireBearerToken(tokenInfo, &auth.RequireBearerTokenOptions{AllowMissingExpiration: true})(stream)
	route := wire.Route{
		Method: http.MethodPost, Path: builderPath, Name: "builder", Summary: "Build connected systems with an assistant (MCP, Streamable HTTP)",
		Tags: []string{"systems"}, Verb: claviger.SystemsRead, Kinds: []claviger.CallerKind{claviger.CallerAPIKey, claviger.CallerOperator},
		MaxBody: maxMessage, NotIdempotent: true, Hidden: true,
	}
	wire.HandleRaw(a, route, s.message)
	route.Method, route.Name, route.Summary = http.MethodDelete, "endBuilder", "End a session of the builder"
	wire.HandleRaw(a, route, s.end)
	return nil
}

// message takes one JSON-RPC message.
func (s *surface) message(w http.ResponseWriter, r *http.Request, c claviger.Caller) {
	m, err := s.read(w, r)
	if err != nil {
		wire.WriteError(w, r, err)
		return
	}
	id := r.Header.Get(sessionHeader)
	if id == "" && m.Method != "initialize" {
		m.outside(w, r)
		return
	}
	if id == "" {
		begun, err := s.sessions.begin(r.Context(), c)
		if err != nil {
			wire.WriteError(w, r, err)
			return
		}
		defer s.sessions.begun(begun)
		s.pass(w, r, c, begun)
		return
	}
	found, err := s.sessions.find(id, ownerOf(c))
	if err != nil {
		wire.WriteError(w, r, err)
		return
	}
	s.pass(w, r, c, found)
}

// end ends a session and its drafts.
func (s *surface) end(w http.ResponseWriter, r *http.Request, c claviger.Caller) {
	err := s.site.check(r)
	var found *session
	if err == nil {
		found, err = s.sessions.find(r.Header.Get(sessionHeader), ownerOf(c))
	}
	if err != nil {
		wire.WriteError(w, r, err)
		return
	}
	s.pass(w, r, c, found)
}

const sessionHeader = "Mcp-Session-Id"

// arrival is what the SDK's hooks find in a request's context: they have no argument for
// it. It is put there and read back in this file alone.
type arrival struct {
	caller  claviger.Caller
	session *session
}

type arrivalKey struct{}

// pass gives a request to the SDK, without the credential that it came with.
func (s *surface) pass(w http.ResponseWriter, r *http.Request, c claviger.Caller, in *session) {
	r = r.Clone(context.WithValue(r.Context(), arrivalKey{}, arrival{c, in}))
	for _, name := range []string{"Api-Key", "Cookie", "Proxy-Authorization"} {
		r.Header.Del(name)
	}
	r.Header.Set("Accept", "application/json, text/event-stream") // the SDK wants both; what it answers is JSON
	r.Header.Set("Authorization", "Bearer verified")              // the SDK wants one; the caller is in the context
	s.sdk.ServeHTTP(w, r)
}

// serverOf answers the SDK the server of the request's session.
func serverOf(r *http.Request) *sdk.Server {
	a, ok := r.Context().Value(arrivalKey{}).(arrival)
	if !ok {
		return nil
	}
	return a.session.server
}

// tokenInfo tells the SDK who sent a request. It hands that on to the tool that the
// request calls.
func tokenInfo(ctx context.Context, _ string, _ *http.Request) (*auth.TokenInfo, error) {
	a, ok := ctx.Value(arrivalKey{}).(arrival)
	if !ok {
		return nil, auth.ErrInvalidToken
	}
	return &auth.TokenInfo{UserID: ownerOf(a.caller), Extra: map[string]any{"caller": a.caller}}, nil
}

// callerOf answers who sent the request that calls a tool. Without one nobody is asking,
// who may do nothing.
func callerOf(call *sdk.CallToolRequest) claviger.Caller {
	nobody := claviger.Caller{Kind: claviger.CallerNobody}
	if call.Extra == nil || call.Extra.TokenInfo == nil {
		return nobody
	}
	if c, ok := call.Extra.TokenInfo.Extra["caller"].(claviger.Caller); ok {
		return c
	}
	return nobody
}

// ownerOf names whom a session belongs to: one key or application of one organization.
func ownerOf(c claviger.Caller) string {
	return string(c.Scope.Organization()) + "/" + string(c.Scope.Workspace()) + "/" + string(c.Kind) + "/" + c.ID
}
