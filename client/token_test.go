package client

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestOperatorTokensAreMintedOnceAndReplacedInTime(t *testing.T) {
	var minted atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v1/account/applications/token" {
			var in map[string]string
			if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in["client_id"] != "app" || in["client_secret"] != "s3cret" {
				t.Errorf("%v %v", in, err)
			}
			if r.Header.Get("Authorization") != "" {
				t.Error("a token was shown to get a token")
			}
			minted.Add(1)
			answer(w, 200, `{"access_token":"minted","token_type":"bearer","expires_in":900}`)
			return
		}
		if r.Header.Get("Authorization") != "Bearer minted" {
			t.Errorf("Authorization: %q", r.Header.Get("Authorization"))
		}
		answer(w, 200, `{"object":"caller"}`)
	}))
	t.Cleanup(server.Close)
	c, err := New(server.URL, "", Operator("app", "s3cret"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	c.now = func() time.Time { return now }
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if err := whoami(t.Context(), c); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if minted.Load() != 1 {
		t.Errorf("%d tokens were minted for one", minted.Load())
	}
	now = now.Add(871 * time.Second) // within the margin before 900
	if err := whoami(t.Context(), c); err != nil || minted.Load() != 2 {
		t.Error(err, minted.Load())
	}
}

func TestARefusedOperator(t *testing.T) {
	c, _ := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 401, `{"detail":"Invalid authentication credentials"}`)
	}, Operator("app", "wrong"))
	if err := whoami(t.Context(), c); !HasCode(err, "http_401") {
		t.Error(err)
	}
}
