package wire_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"claviger/internal/wire"
)

// The first request to the proxy route is looked up twice, later ones once: all are
// answered alike, and what is not clean is refused either way.
func TestProxyRouteIsFoundEachTime(t *testing.T) {
	mux := http.NewServeMux()
	relay := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Seen", r.Method+" "+r.PathValue("id")+" "+r.PathValue("path"))
	}
	mux.HandleFunc("/v1/connections/{id}/proxy/{path...}", relay)
	mux.HandleFunc("/v1/connections/{id}/proxy", relay)
	mux.HandleFunc("GET /v1/connections/{id}", relay)
	edge := wire.Edge{}.Front(mux)
	for range 3 {
		for _, c := range []struct {
			method, path, seen string
			status             int
		}{
			{"GET", "/v1/connections/c1/proxy/a/b%2Fc", "GET c1 a/b/c", 200},
			{"PATCH", "/v1/connections/c2/proxy/", "PATCH c2 ", 200},
			{"POST", "/v1/connections/c3/proxy", "POST c3 ", 200},
			{"GET", "/v1/connections/c4", "GET c4 ", 200},
			{"POST", "/v1/connections/c4", "", 405},
			{"GET", "/v1/connections/c5/proxy/a//b", "", 400},
			{"GET", "/v1/connections//proxy/a", "", 400},
			{"GET", "/v1/connections/c6/proxyish", "", 404},
		} {
			w := httptest.NewRecorder()
			edge.ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
			if w.Code != c.status || w.Header().Get("Seen") != c.seen || w.Header().Get("Location") != "" {
				t.Errorf("%s %s: %d, %q, Location %q; want %d, %q", c.method, c.path, w.Code, w.Header().Get("Seen"), w.Header().Get("Location"), c.status, c.seen)
			}
		}
	}
}

func BenchmarkEdgeProxy(b *testing.B) {
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/connections/{id}/proxy/{path...}", func(http.ResponseWriter, *http.Request) {})
	edge := wire.Edge{}.Front(mux)
	r := httptest.NewRequest("GET", "/v1/connections/conn_01h2xcejqtf2nbrexx3vqjhp41/proxy/orders", nil)
	w := httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		edge.ServeHTTP(w, r)
	}
}
