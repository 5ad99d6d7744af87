package app

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"claviger"
	"claviger/internal/authn"
	"claviger/internal/broker"
	"claviger/internal/store"
	"claviger/internal/surface/connect"
	"claviger/internal/surface/console"
	"claviger/internal/surface/docs"
	"claviger/internal/surface/embedded"
	"claviger/internal/surface/hooks"
	"claviger/internal/surface/mcp"
	"claviger/internal/surface/native"
	"claviger/internal/wire"
)

// mount puts all surfaces on one router and the edge before it.
func (a *App) mount() error {
	mux := http.NewServeMux()
	cursors, err := a.cursors()
	if err != nil {
		return err
	}
	common := wire.Config{
		Mux: mux, Title: "Claviger", Version: Version, Authenticator: a.tokens, Recorder: a.ledger, Log: a.log, Now: a.config.Now,
		Idempotency: idempotency{a.db}, Prints: a.prints,
		Description: "A credential broker: name a connection, and its secret is put on the outgoing call without your ever holding it.",
	}
	v1, err := wire.New(common)
	if err != nil {
		return err
	}
	if err := native.Mount(v1, native.Config{Broker: a.broker, Tokens: a.tokens, Cursors: cursors}); err != nil {
		return err
	}
	if err := hooks.Mount(v1, hooks.Config{Broker: a.broker, MaxBody: a.config.webhookBody()}); err != nil {
		return err
	}
	v1.MountDocs()
	common.Mux, common.Encode, common.LenientQuery = mux, embedded.EncodeError, true
	common.Title, common.Idempotency = "Claviger, embedded", nil
	tokens, err := wire.New(common)
	if err != nil {
		return err
	}
	embedded.Mount(tokens, a.tokens)
	common.Encode, common.Title = mcp.EncodeError, "Claviger, for assistants"
	assistants, err := wire.New(common)
	if err != nil {
		return err
	}
	if err := mcp.Mount(assistants, mcp.Config{Broker: a.broker, PublicURL: a.config.PublicURL, Version: Version, Log: a.log}); err != nil {
		return err
	}
	a.routes = slices.Concat(v1.Routes(), tokens.Routes(), assistants.Routes())
	if err := a.mountPages(mux); err != nil {
		return err
	}
	mux.HandleFunc("GET /healthz", a.healthy)
	mux.HandleFunc("GET /readyz", a.ready)
	proxies, err := a.config.proxies()
	if err != nil {
		return err
	}
	a.metrics = newMetrics(a)
	edge := wire.Edge{TrustedProxies: proxies, Encode: errorShape, Observe: a.metrics.observe, Log: a.log, Now: a.config.Now}
	a.handler = edge.Front(mux)
	a.admin = a.adminHandler()
	return nil
}

// mountPages puts the surfaces for browsers on the router.
func (a *App) mountPages(mux *http.ServeMux) error {
	pages, err := connect.New(connect.Config{Broker: a.broker, Sessions: a.tokens, PublicURL: a.config.PublicURL, Log: a.log})
	if err != nil {
		return err
	}
	for _, prefix := range connect.Prefixes() {
		mux.Handle(prefix, pages)
	}
	people, err := console.New(console.Config{Broker: a.broker, Tokens: a.tokens, PublicURL: a.config.PublicURL, Now: a.config.Now, Log: a.log})
	if err != nil {
		return err
	}
	for _, prefix := range console.Prefixes() {
		mux.Handle(prefix, people)
	}
	guides, err := docs.New(docs.Config{Catalog: a.catalog, PublicURL: a.config.PublicURL, Log: a.log})
	if err != nil {
		return err
	}
	mux.Handle(docs.Prefix, guides)
	mux.Handle(docs.Prefix+"/", guides)
	return nil
}

// errorShape answers in the shape of the surface that a path belongs to, for what is
// refused before a route is known.
func errorShape(path string) wire.Encoder {
	if strings.HasPrefix(path, embedded.Prefix) {
		return embedded.EncodeError
	}
	if strings.HasPrefix(path, mcp.Prefix) {
		return mcp.EncodeError
	}
	return nil
}

func (a *App) cursors() (cursors *wire.Cursors, err error) {
	secret, err := instanceSecret(context.Background(), a.db, a.vault, factCursor)
	if err != nil {
		return nil, err
	}
	secret.Use(func(key []byte) { cursors, err = wire.NewCursors(key) })
	return cursors, err
}

// tokenMaker gives the core the form of what authentication reads.
type tokenMaker struct{}

// NewAPIKey answers a token, its hash and its last four characters.
func (tokenMaker) NewAPIKey() (claviger.Secret, []byte, string, error) {
	return authn.NewAPIKey(randomSource)
}

// NewClientSecret answers a client secret and its hash.
func (tokenMaker) NewClientSecret() (claviger.Secret, []byte, error) {
	return authn.NewClientSecret(randomSource)
}

// NewSetupLink answers the token of a link by which a person chooses how they sign in.
func (tokenMaker) NewSetupLink(o claviger.OrganizationID, u claviger.UserID) (claviger.Secret, claviger.SetupLink, error) {
	return authn.NewSetupLink(o, u, time.Now(), randomSource)
}

// NewConnectToken answers the token of a connect page and its hash.
func (tokenMaker) NewConnectToken() (claviger.Secret, []byte, error) {
	return authn.NewConnectToken(randomSource)
}

// CanonicalName answers the two forms of a workspace's name.
func (tokenMaker) CanonicalName(param, name string) (shown, canonical string, err error) {
	return authn.CanonicalName(param, name)
}

// Found prepares an organization and the writing of it.
func (tokenMaker) Found(name string, regions []claviger.RegionID) (broker.NewOrganization, func(context.Context, *store.Tx) error, error) {
	shown, write, err := authn.Found(name, regions, time.Now(), randomSource)
	if err != nil {
		return broker.NewOrganization{}, nil, err
	}
	return broker.NewOrganization{
		Organization: claviger.Organization{ID: shown.Organization, Name: name, CreatedAt: time.Now()},
		ClientID:     shown.ClientID, ClientSecret: shown.ClientSecret, APIKey: shown.APIKey, SetUp: shown.OwnerLink,
	}, write, nil
}

// idempotency keeps answers to repeated requests in the database.
type idempotency struct{ db *store.DB }

// Begin claims a key, or answers what holds it.
func (i idempotency) Begin(ctx context.Context, c claviger.Caller, key string, hash []byte) (*wire.Prior, error) {
	old, fresh, err := i.db.BeginIdempotent(ctx, store.Idempotent{
		Organization: c.Scope.Organization(), Caller: c.ID, Key: key, RequestHash: hash,
	})
	if err != nil || fresh {
		return nil, err
	}
	return &wire.Prior{
		RequestHash: old.RequestHash, Done: old.Done, Answer: wire.Stored{Status: old.Status, Body: old.Body},
	}, nil
}

// Finish keeps the answer to a claimed key.
func (i idempotency) Finish(ctx context.Context, c claviger.Caller, key string, answer wire.Stored) error {
	return i.db.FinishIdempotent(ctx, store.Idempotent{
		Organization: c.Scope.Organization(), Caller: c.ID, Key: key, Status: answer.Status, Body: answer.Body, Done: true,
	})
}

// Abandon gives a claimed key free.
func (i idempotency) Abandon(ctx context.Context, c claviger.Caller, key string) error {
	return i.db.AbandonIdempotent(ctx, store.Idempotent{Organization: c.Scope.Organization(), Caller: c.ID, Key: key})
}
