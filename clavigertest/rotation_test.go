package clavigertest_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"claviger/clavigertest"
	"claviger/clavigertest/acme"
)

func TestAbuse_138_NoPairIsEverMixed(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		const rotations, callers, callsEach = 20, 200, 10
		v := acme.Start(t, "pw-0")
		s := clavigertest.Start(t, clavigertest.Options{Engine: engine, EgressAllow: v.Addr()})
		id := s.Connect(t, v, "acme", "basic", map[string]string{"username": "user-0", "password": "pw-0"})
		var mixed, calls atomic.Int64
		v.Behave(func(w http.ResponseWriter, r *http.Request) {
			user, password, _ := r.BasicAuth()
			if strings.TrimPrefix(user, "user-") != strings.TrimPrefix(password, "pw-") {
				mixed.Add(1)
			}
			calls.Add(1)
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprint(w, `{"id":"acct_7","name":"Acme"}`)
		})
		client := s.Client(s.Key).Proxy(id)
		var failures atomic.Int64
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for range callsEach {
					resp, err := client.Get("http://vendor/x")
					if err != nil || resp.StatusCode != 200 {
						failures.Add(1)
						continue
					}
					_ = resp.Body.Close()
				}
			})
		}
		for i := 1; i <= rotations; i++ {
			a := s.Do(call{Token: s.Key, Method: "PATCH", Path: "/v1/connections/" + id, Body: map[string]any{
				"credentials": map[string]string{"username": fmt.Sprintf("user-%d", i), "password": fmt.Sprintf("pw-%d", i)},
			}})
			if a.Status != 200 {
				t.Errorf("rotation %d: %d %s", i, a.Status, a.Body)
			}
		}
		wg.Wait()
		if mixed.Load() != 0 || failures.Load() != 0 || calls.Load() < callers*callsEach {
			t.Errorf("%d mixed pairs, %d failures in %d calls", mixed.Load(), failures.Load(), calls.Load())
		}
		if a := s.Do(call{Token: s.Key, Method: "GET", Path: proxy(id, "/last")}); a.Status != 200 {
			t.Fatal(a.Status)
		}
		last := v.Last(t)
		if user, password, _ := (&http.Request{Header: last.Header}).BasicAuth(); user != "user-20" || password != "pw-20" {
			t.Errorf("after the last rotation %s:%s was used", user, password)
		}
		t.Logf("%d calls beside %d rotations", calls.Load(), rotations)
	})
}

func TestSecretsTakeEffectAtTheNextUse(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		v := acme.Start(t, "ak_first_value", "ak_second_value")
		s := clavigertest.Start(t, clavigertest.Options{Engine: engine, EgressAllow: v.Addr()})
		c := s.Client(s.Key)
		if _, err := c.PutSecret(t.Context(), "shared/acme/key", "ak_first_value"); err != nil {
			t.Fatal(err)
		}
		id := s.Connect(t, v, "acme", "key", map[string]string{"apiKey": "kv://shared/acme/key"})
		for _, value := range []string{"ak_first_value", "ak_second_value"} {
			if _, err := c.PutSecret(t.Context(), "shared/acme/key", value); err != nil {
				t.Fatal(err)
			}
			if a := s.Do(call{Token: s.Key, Method: "GET", Path: proxy(id, "/x")}); a.Status != 200 || v.Last(t).Header.Get("X-Api-Key") != value {
				t.Errorf("%d, the vendor got %s, want %s", a.Status, v.Last(t).Header.Get("X-Api-Key"), value)
			}
		}
		known, err := c.Secret(t.Context(), "shared/acme/key")
		if err != nil || known.Version != 3 || len(known.UsedBy) != 1 || known.UsedBy[0] != id {
			t.Errorf("what is known of it: %+v %v", known, err)
		}
		if _, err := c.DeleteSecret(t.Context(), "shared/acme/key"); err != nil {
			t.Logf("deleting a secret in use: %v", err)
			return
		}
		v.Forget()
		a := s.Do(call{Token: s.Key, Method: "GET", Path: proxy(id, "/x")})
		if f := a.Fault(); a.Status != 424 || f.Code != "secret_missing" || f.Path != "shared/acme/key" || len(v.Received()) != 0 {
			t.Errorf("without the secret: %d %s", a.Status, a.Body)
		}
	})
}

func TestARepeatedRequestShowsNoSecretAgain(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		s := clavigertest.Start(t, clavigertest.Options{Engine: engine})
		for field, c := range map[string]call{
			"key":          {Path: "/v1/api-keys", Body: map[string]string{"name": "once"}},
			"clientSecret": {Path: "/v1/applications", Body: map[string]string{"name": "once"}},
			"apiKey":       {Path: "/v1/organizations", Body: map[string]string{"name": "Once"}},
		} {
			c.Token, c.Method, c.Header = s.Key, "POST", http.Header{"Idempotency-Key": {"once-" + field}}
			first, second := s.Do(c), s.Do(c)
			secret := first.Field(field)
			if first.Status != 201 || len(secret) < 20 {
				t.Fatalf("%s: %d %s", c.Path, first.Status, first.Body)
			}
			if second.Status != 201 || second.Header.Get("Idempotent-Replayed") != "true" || second.Field("id") != first.Field("id") {
				t.Errorf("%s again: %d %s", c.Path, second.Status, second.Body)
			}
			if strings.Contains(string(second.Body), secret) || second.Field(field) != "***REDACTED***" {
				t.Errorf("%s again shows the secret: %s", c.Path, second.Body)
			}
			c.Body = map[string]string{"name": "another"}
			if a := s.Do(c); a.Status != 409 || a.Fault().Code != "idempotency_key_reused" {
				t.Errorf("%s with another body: %d %s", c.Path, a.Status, a.Body)
			}
		}
	})
}
