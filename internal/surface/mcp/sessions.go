package mcp

import (
	"context"
	"crypto/rand"
	"log/slog"
	"slices"
	"sync"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"claviger"
	"claviger/internal/broker"
)

// The bounds of sessions. Clients seldom end theirs: a caller who begins another beyond
// the bound loses the one that was used least recently; nobody ends those of others.
const (
	idleSession = 30 * time.Minute
	maxSessions = 128
	maxOwn      = 8
)

// sessions are those that are open. That a session is over, because it was idle or its
// client said so, the SDK knows.
type sessions struct {
	config  Config
	schemas *sdk.SchemaCache

	mu  sync.Mutex
	all []*session // in the order of their last use
}

// session is one client's work: its drafts, and the SDK's server that it talks to.
type session struct {
	id, owner string
	core      *broker.Broker
	log       *slog.Logger
	server    *sdk.Server
	starting  bool // under sessions.mu: its first message is being answered

	mu     sync.Mutex // one tool at a time
	drafts map[string]*draft
}

func newSessions(c Config) *sessions {
	return &sessions{config: c, schemas: sdk.NewSchemaCache()}
}

// begin makes a session for the first message of a caller who may read systems;
// [sessions.begun] must follow.
func (s *sessions) begin(ctx context.Context, c claviger.Caller) (*session, error) {
	if err := s.config.Broker.Assist(ctx, c, claviger.SystemsRead, "", "builder.initialize", func() error { return nil }); err != nil {
		return nil, err
	}
	fresh := &session{id: rand.Text(), owner: ownerOf(c), core: s.config.Broker, log: s.config.Log, starting: true, drafts: map[string]*draft{}}
	fresh.server = sdk.NewServer(&sdk.Implementation{Name: "claviger-builder", Title: "Claviger builder", Version: s.config.Version}, &sdk.ServerOptions{
		Instructions: instructions, SchemaCache: s.schemas, GetSessionID: func() string { return fresh.id },
		Capabilities: &sdk.ServerCapabilities{Tools: &sdk.ToolCapabilities{}}, SupportedProtocolVersions: protocols,
	})
	fresh.addTools()
	over, err := s.admit(fresh)
	if over != nil {
		over.close()
	}
	return fresh, err
}

// admit lists a session, and answers the one that must make room for it.
func (s *sessions) admit(fresh *session) (over *session, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	mine := 0
	for _, x := range s.all {
		if x.owner == fresh.owner {
			mine++
			if over == nil && !x.starting {
				over = x
			}
		}
	}
	if mine < maxOwn {
		over = nil
	}
	if over != nil {
		s.drop(over)
		mine--
	}
	if mine >= maxOwn || len(s.all) >= maxSessions {
		full := claviger.Errorf(claviger.KindUnavailable, "too_many_sessions", "Too many sessions are open. End one, or try again in a minute.")
		full.RetryAfter = time.Minute
		return over, full
	}
	s.all = append(s.all, fresh)
	return over, nil
}

// sweep takes sessions that are over, with their drafts, off the list. The caller holds mu.
func (s *sessions) sweep() {
	s.all = slices.DeleteFunc(s.all, func(x *session) bool { return !x.starting && !x.alive() })
}

// begun ends the beginning of a session: one that the client did not initialise goes.
func (s *sessions) begun(x *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x.starting = false
	s.sweep()
}

// drop takes a session off the list. The caller holds mu.
func (s *sessions) drop(gone *session) {
	s.all = slices.DeleteFunc(s.all, func(x *session) bool { return x == gone })
}

// find answers an open session of the owner. Another's does not exist.
func (s *sessions) find(id, owner string) (*session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	for _, x := range s.all {
		if x.id == id && x.owner == owner && x.alive() { // its first answer may still be under way
			s.drop(x)
			s.all = append(s.all, x)
			return x, nil
		}
	}
	return nil, claviger.NotFound("session")
}

// alive reports whether the SDK still has the session.
func (x *session) alive() bool {
	for range x.server.Sessions() {
		return true
	}
	return false
}

func (x *session) close() {
	for open := range x.server.Sessions() {
		_ = open.Close() // its connection is a queue in memory
	}
}
