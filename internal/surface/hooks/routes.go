package hooks

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"claviger"
	"claviger/internal/broker"
	"claviger/internal/wire"
)

const (
	// DefaultMaxBody is the longest body, unless the operator says otherwise.
	DefaultMaxBody = 1 << 20
	// memory bounds the bodies of all deliveries that are under way.
	memory = 64 << 20
	// deadline bounds one delivery, from its first byte to the answer.
	deadline = 30 * time.Second
)

// Config is what the surface is made of.
type Config struct {
	Broker  *broker.Broker
	MaxBody int64 // 0: DefaultMaxBody
}

type surface struct {
	core   *broker.Broker
	bodies *bodies
}

// Mount mounts the addresses of webhooks on a.
func Mount(a *wire.API, c Config) error {
	if a == nil || c.Broker == nil {
		return errors.New("hooks: an API and a broker are required")
	}
	if c.MaxBody == 0 {
		c.MaxBody = DefaultMaxBody
	}
	s := &surface{core: c.Broker, bodies: &bodies{longest: c.MaxBody, left: memory, held: map[netip.Addr]int64{}}}
	for _, r := range []wire.Route{
		{Method: http.MethodPost, Name: "receiveWebhook", Summary: "Take what a vendor delivers to a system"},
		{Method: http.MethodGet, Name: "answerWebhook", Summary: "Answer a vendor that asks whether it may deliver"},
	} {
		r.Path, r.Verb, r.Tags, r.Public, r.Hidden, r.NotIdempotent, r.MaxBody = "/webhooks/{path...}", claviger.WebhooksReceive, []string{"webhooks"}, true, true, true, c.MaxBody
		wire.HandleRaw(a, r, s.receive)
	}
	return nil
}

func (s *surface) receive(w http.ResponseWriter, r *http.Request, _ claviger.Caller) {
	in, ok := address(r.PathValue("path"))
	if !ok {
		wire.WriteError(w, r, noRoute())
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), deadline)
	defer cancel()
	from := wire.From(r)
	body, release, err := s.bodies.read(ctx, r, from.Address)
	defer release()
	if err != nil {
		w.Header().Set("Connection", "close") // what is left of the body is not read
		wire.WriteError(w, r, err)
		return
	}
	in.Method, in.Target, in.Header, in.Body, in.From = r.Method, r.URL.RequestURI(), r.Header, body, from
	out, err := s.core.Receive(ctx, in)
	if err != nil {
		wire.WriteError(w, r, err)
		return
	}
	write(w, out)
}
