package native_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/acme"
	"claviger/client"
)

// patience bounds every wait for an event.
const patience = 2 * time.Minute

// hook is a request as an organization's endpoint gets it.
type hook struct {
	header http.Header
	body   string
}

// receiver starts an endpoint that accepts everything.
func receiver(t *testing.T) (*httptest.Server, <-chan hook) {
	t.Helper()
	hooks := make(chan hook, 100)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		hooks <- hook{r.Header.Clone(), string(body)}
	}))
	t.Cleanup(server.Close)
	return server, hooks
}

// next waits for an event of a type, signed with the secret.
func next(t *testing.T, hooks <-chan hook, kind, secret string) hook {
	t.Helper()
	select {
	case h := <-hooks:
		w, err := standardwebhooks.NewWebhook(secret)
		if err != nil || w.Verify([]byte(h.body), h.header) != nil || !strings.Contains(h.body, `"type":"`+kind+`"`) {
			t.Errorf("%s, want a signed %s", h.body, kind)
		}
		return h
	case <-time.After(patience):
		t.Fatalf("no %s came", kind)
		return hook{}
	}
}

func TestEventsFromEndToEnd(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		const key = "ak_1234567890"
		v := acme.Start(t, key)
		server, hooks := receiver(t)
		s := clavigertest.Start(t, clavigertest.Options{Engine: engine, EgressAllow: v.Addr() + "," + strings.TrimPrefix(server.URL, "http://")})
		c := s.Client(s.Key)
		endpoint, err := c.CreateEventEndpoint(t.Context(), api.CreateEventEndpoint{
			URL: server.URL + "/hook", Events: []string{"connection.created", "connection.updated", "connection.revoked"},
		})
		if err != nil || !strings.HasPrefix(endpoint.ID, "ep_") || !strings.HasPrefix(endpoint.Secret, "whsec_") || endpoint.Status != "active" {
			t.Fatalf("%v %v", endpoint.ID, err)
		}
		id := s.Connect(t, v, "acme", "key", map[string]string{"apiKey": key})
		made := next(t, hooks, "connection.created", endpoint.Secret)
		if !strings.Contains(made.body, `"id":"`+id+`"`) || !strings.Contains(made.body, `"status":"active"`) || strings.Contains(made.body, key) {
			t.Error(made.body)
		}
		path := "/v1/connections/" + id
		for _, change := range []clavigertest.Call{
			{Method: http.MethodPatch, Path: path, Body: map[string]any{"name": "renamed"}},
			{Method: http.MethodPost, Path: path + "/disable"},
			{Method: http.MethodPost, Path: path + "/enable"},
		} {
			change.Token = s.Key
			if a := s.Do(change); a.Status != 200 {
				t.Fatalf("%d %s", a.Status, a.Body)
			}
			next(t, hooks, "connection.updated", endpoint.Secret)
		}
		if a := s.Do(clavigertest.Call{Token: s.Key, Method: http.MethodDelete, Path: path}); a.Status != 200 {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		next(t, hooks, "connection.revoked", endpoint.Secret)
		replayed(t, c, endpoint, hooks)
		rotated(t, s, c, endpoint, v, hooks)
	})
}

// replayed lists the deliveries and sends the first one again.
func replayed(t *testing.T, c *client.Client, endpoint api.NewEventEndpoint, hooks <-chan hook) {
	t.Helper()
	var all []api.EventDelivery
	for deadline := time.Now().Add(patience); ; {
		var err error
		if all, err = client.Collect(c.EventDeliveries(t.Context(), endpoint.ID), 0); err != nil || len(all) != 5 {
			t.Fatalf("%d deliveries, %v", len(all), err)
		}
		open := slices.IndexFunc(all, func(d api.EventDelivery) bool { return d.Status != "succeeded" })
		if open < 0 { // what was received is stored a moment later
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("delivery %d is %s", open, all[open].Status)
		}
	}
	first := all[4]
	if first.Type != "connection.created" || first.Status != "succeeded" || first.Attempts != 1 || first.StatusCode != 200 || first.NextAttemptAt != nil {
		t.Errorf("%s %s after %d attempts, %d", first.Type, first.Status, first.Attempts, first.StatusCode)
	}
	if d, err := c.ReplayEventDelivery(t.Context(), endpoint.ID, first.ID); err != nil || d.Status != "pending" {
		t.Fatalf("%s %v", d.Status, err)
	}
	if h := next(t, hooks, "connection.created", endpoint.Secret); h.header.Get("webhook-id") != first.EventID {
		t.Errorf("the event %s was replayed as %s", first.EventID, h.header.Get("webhook-id"))
	}
}

// rotated changes the secret, deletes the endpoint and hears no more.
func rotated(t *testing.T, s *clavigertest.Server, c *client.Client, endpoint api.NewEventEndpoint, v *acme.Vendor, hooks <-chan hook) {
	t.Helper()
	fresh, err := c.RotateEventEndpointSecret(t.Context(), endpoint.ID)
	if err != nil || fresh.Secret == endpoint.Secret || fresh.PreviousSecretExpiresAt == nil {
		t.Fatal(err)
	}
	s.Connect(t, v, "acme", "key", map[string]string{"apiKey": "ak_1234567890"})
	both := next(t, hooks, "connection.created", fresh.Secret)
	if old, err := standardwebhooks.NewWebhook(endpoint.Secret); err != nil || old.Verify([]byte(both.body), both.header) != nil {
		t.Error("the old secret does not sign any more")
	}
	if _, err := c.DeleteEventEndpoint(t.Context(), endpoint.ID); err != nil {
		t.Fatal(err)
	}
	if all, err := client.Collect(c.EventEndpoints(t.Context()), 0); err != nil || len(all) != 0 {
		t.Errorf("%d endpoints, %v", len(all), err)
	}
	if a := s.Do(clavigertest.Call{Token: s.Key, Method: http.MethodGet, Path: "/v1/event-endpoints/" + endpoint.ID + "/deliveries"}); a.Status != 404 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

func TestAbuse_170_EndpointsOfTheAPI(t *testing.T) {
	s := clavigertest.Start(t, clavigertest.Options{})
	const path = "/v1/event-endpoints"
	good := map[string]any{"url": "https://hooks.example.com/x", "events": []string{"connection.revoked"}}
	once := clavigertest.Call{Token: s.Key, Method: http.MethodPost, Path: path, Body: good, Header: http.Header{"Idempotency-Key": {"1"}}}
	first, again := s.Do(once), s.Do(once)
	if first.Status != 201 || again.Status != 201 || again.Field("secret") != api.RedactedMark || again.Field("id") != first.Field("id") {
		t.Fatalf("%d %s\n%d %s", first.Status, first.Body, again.Status, again.Body)
	}
	one := path + "/" + first.Field("id")
	for _, at := range []string{path, one} {
		if a := s.Do(clavigertest.Call{Token: s.Key, Method: http.MethodGet, Path: at}); a.Status != 200 || strings.Contains(string(a.Body), "whsec_") || strings.Contains(string(a.Body), `"secret"`) {
			t.Errorf("%s: %d %s", at, a.Status, a.Body)
		}
	}
	for name, c := range map[string]struct {
		url    any
		events any
		param  string
	}{
		"plain":     {"http://hooks.example.com/", []string{"connection.revoked"}, "url"},
		"user":      {"https://a:b@hooks.example.com/", []string{"connection.revoked"}, "url"},
		"fragment":  {"https://hooks.example.com/#x", []string{"connection.revoked"}, "url"},
		"file":      {"file:///etc/passwd", []string{"connection.revoked"}, "url"},
		"no host":   {"https:///x", []string{"connection.revoked"}, "url"},
		"no events": {"https://hooks.example.com/", []string{}, "events"},
		"unknown":   {"https://hooks.example.com/", []string{"connection.exploded"}, "events"},
		"twice":     {"https://hooks.example.com/", []string{"connection.revoked", "connection.revoked"}, "events"},
	} {
		a := s.Do(clavigertest.Call{Token: s.Key, Method: http.MethodPost, Path: path, Body: map[string]any{"url": c.url, "events": c.events}})
		if a.Status != 422 || a.Fault().Param != c.param {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
	other := s.Do(clavigertest.Call{Token: s.Key, Method: http.MethodPost, Path: "/v1/organizations", Body: map[string]any{"name": "other"}})
	for _, at := range []struct{ method, path string }{
		{http.MethodGet, one}, {http.MethodDelete, one}, {http.MethodPost, one + "/rotate-secret"}, {http.MethodGet, one + "/deliveries"}, {http.MethodPost, one + "/deliveries/dlv_x/replay"},
	} {
		if a := s.Do(clavigertest.Call{Token: other.Field("apiKey"), Method: at.method, Path: at.path}); a.Status != 404 {
			t.Errorf("another tenant's %s %s: %d %s", at.method, at.path, a.Status, a.Body)
		}
	}
	if a := s.Do(clavigertest.Call{Token: s.Key, Method: http.MethodPost, Path: one + "/deliveries/dlv_x/replay"}); a.Status != 404 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}
