package clavigertest_test

import (
	"fmt"
	"net/http"
	osexec "os/exec"
	"strings"
	"sync"
	"testing"

	"claviger/clavigertest"
	"claviger/clavigertest/acme"
	"claviger/clavigertest/postgres"
)

// TestAbuse_186_WhatIsOpenedDiesWithItsChange uses a connection on two nodes and changes it
// on one: the next use of that one, and soon of the other, knows nothing of what was.
func TestAbuse_186_WhatIsOpenedDiesWithItsChange(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		v := acme.Start(t)
		o := clavigertest.Options{Engine: engine, EgressAllow: v.Addr()}
		if engine == clavigertest.PostgreSQL {
			o.DatabaseURL = postgres.URL(t)
		}
		one := clavigertest.Start(t, o)
		options := one.Options()
		if engine == clavigertest.PostgreSQL {
			options.Data = copyKey(t, one)
		}
		two := clavigertest.Start(t, options)
		secret := func(n int) string { return fmt.Sprintf("ak_revision_%d_of_the_secret", n) }
		var canaries clavigertest.Canaries
		canaries.Add("secret 0", secret(0))
		v.Accept(secret(0))
		id := one.Connect(t, v, "acme", "key", map[string]string{"apiKey": secret(0)})
		uses := func(s *clavigertest.Server) string {
			t.Helper()
			if a := s.Do(call{Token: one.Key, Method: "GET", Path: proxy(id, "/x")}); a.Status != 200 && a.Status != 401 {
				t.Fatalf("%d %s", a.Status, a.Body)
			}
			return v.Last(t).Header.Get("X-Api-Key")
		}
		for n := 1; n <= 5; n++ {
			canaries.Add(fmt.Sprint("secret ", n), secret(n))
			for range 20 { // so that whatever keeps something has it
				uses(one)
				uses(two)
			}
			here, there := one, two
			if n%2 == 0 {
				here, there = two, one
			}
			v.Accept(secret(n))
			a := here.Do(call{Token: one.Key, Method: "PATCH", Path: "/v1/connections/" + id, Body: map[string]any{"credentials": map[string]string{"apiKey": secret(n)}}})
			if a.Status != 200 {
				t.Fatalf("rotation %d: %d %s", n, a.Status, a.Body)
			}
			if got := uses(here); got != secret(n) {
				t.Errorf("the node itself still uses %s", got)
			}
			eventually(t, "the other node uses the new one", func() bool { return uses(there) == secret(n) })
			if got := uses(there); got != secret(n) {
				t.Errorf("the other node went back to %s", got)
			}
		}
		if a := one.Do(call{Token: one.Key, Method: "DELETE", Path: "/v1/connections/" + id}); a.Status != 200 {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		refused := func(s *clavigertest.Server) bool {
			return s.Do(call{Token: one.Key, Method: "GET", Path: proxy(id, "/x")}).Status == 409
		}
		if !refused(one) {
			t.Error("the node itself uses what was deleted")
		}
		eventually(t, "the other node refuses", func() bool { return refused(two) })
		v.Forget()
		if !refused(one) || !refused(two) || len(v.Received()) != 0 {
			t.Error("what was deleted is used")
		}
		sinks := map[string][]byte{}
		for _, s := range []*clavigertest.Server{one, two} {
			for path, text := range s.Files() {
				sinks[path] = text
			}
		}
		db := database(t, one)
		for _, table := range tables(t, one, db) {
			sinks["table "+table] = []byte(strings.Join(contents(t, db, table), "\n"))
		}
		for sink, text := range sinks {
			for _, hit := range canaries.Scan(sink, text) {
				t.Errorf("%s holds %s (%s)", sink, hit.Secret, hit.Encoding)
			}
		}
	})
}

// TestAbuse_184_TracesStayAtHome: what a caller's tracer adds to a request goes to no
// vendor, the program sends no traces, and the one that its operator can take of it holds
// nothing of a request.
func TestAbuse_184_TracesStayAtHome(t *testing.T) {
	c := connect(t, clavigertest.Options{}, "ak_traced_secret")
	for _, name := range []string{
		"Traceparent", "TRACESTATE", "baggage", "b3", "X-B3-TraceId", "X-B3-Sampled", "Uber-Trace-Id", "Uberctx-Key", "X-Amzn-Trace-Id", "X-Cloud-Trace-Context", "X-Datadog-Trace-Id", "X-Datadog-Tags",
		"Sentry-Trace", "Newrelic", "Grpc-Trace-Bin", "Elastic-Apm-Traceparent", "Correlation-Context", "X-Ot-Span-Context", "X-Instana-T", "X_Datadog_Trace_Id",
	} {
		c.vendor.Forget()
		if a := c.through("GET", "/x", http.Header{name: {"00-canary-01"}}); a.Status != 200 {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
		if got := c.vendor.Last(t); strings.Contains(got.Dump(), "canary") {
			t.Errorf("%s reached the vendor: %s", name, got.Dump())
		}
	}
	out, err := osexec.CommandContext(t.Context(), "go", "list", "-deps", "claviger/cmd/claviger").Output()
	if err != nil || len(out) < 1000 {
		t.Fatalf("%d bytes: %v", len(out), err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "opentelemetry.io/otel/exporters") || strings.Contains(line, "opentelemetry.io/otel/sdk") || strings.Contains(line, "DataDog") || strings.Contains(line, "sentry") {
			t.Errorf("a tracer is linked: %s", line)
		}
	}
	var profiles sync.WaitGroup
	taken := make([]*clavigertest.Answer, 2)
	for i, path := range []string{"/debug/pprof/trace?seconds=1", "/debug/pprof/goroutine?debug=2"} {
		profiles.Go(func() { taken[i] = c.Admin(path) })
	}
	for range 50 {
		c.through("GET", "/x?q=query-canary", http.Header{"X-Note": {"header-canary"}})
	}
	profiles.Wait()
	for i, a := range taken {
		if a.Status != 200 || len(a.Body) < 500 {
			t.Errorf("profile %d: %d, %d bytes", i, a.Status, len(a.Body))
		}
		for _, canary := range []string{"query-canary", "header-canary", c.secret, c.Key} {
			if strings.Contains(string(a.Body), canary) {
				t.Errorf("profile %d holds %s", i, canary)
			}
		}
	}
}
