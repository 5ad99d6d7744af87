package client

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestProxySendsEverythingThroughTheConnection(t *testing.T) {
	type seen struct{ line, authorization, apiKey, accept, body, host string }
	got := make(chan seen, 1)
	c, _ := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- seen{r.Method + " " + r.RequestURI, r.Header.Get("Authorization"), r.Header.Get("Api-Key"), r.Header.Get("Accept"), string(body), r.Host}
		w.Header().Set("Location", "/v1/connections/conn_1/proxy/next")
		w.WriteHeader(http.StatusFound)
	})
	vendor := c.Proxy("conn_1")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://vendor.example/a%2Fb/c%20d?x=1;y=%zz", strings.NewReader("payload"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "token another")
	req.Header.Set("Api-Key", "another")
	req.Header.Set("Accept", "text/event-stream")
	resp, err := vendor.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusFound {
		t.Errorf("the redirect was followed: %d", resp.StatusCode)
	}
	s := <-got
	if s.line != "POST /v1/connections/conn_1/proxy/a%2Fb/c%20d?x=1;y=%zz" {
		t.Error(s.line)
	}
	if s.authorization != "Bearer "+testToken || s.apiKey != "" || s.accept != "text/event-stream" || s.body != "payload" {
		t.Errorf("%+v", s)
	}
	if "http://"+s.host != c.BaseURL() || c.ProxyURL("conn_1") != c.BaseURL()+"/v1/connections/conn_1/proxy" {
		t.Error(s.host, c.ProxyURL("conn_1"))
	}
	if req.Header.Get("Authorization") != "token another" {
		t.Error("the caller's request was changed")
	}
}
