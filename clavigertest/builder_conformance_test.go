package clavigertest_test

import (
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	"claviger/clavigertest"
	"claviger/clavigertest/conformance"
)

// TestTheBuilderConforms runs the protocol's own tests. They send no credentials, so that
// a proxy adds them and changes nothing else.
func TestTheBuilderConforms(t *testing.T) {
	s := clavigertest.Start(t, clavigertest.Options{})
	target, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host
		r.Out.Header.Set("Authorization", "Bearer "+s.Key)
	}})
	t.Cleanup(front.Close)
	for _, scenario := range conformance.Scenarios() {
		t.Run(scenario, func(t *testing.T) { conformance.Run(t, scenario, front.URL+"/mcp/builder") })
	}
}
