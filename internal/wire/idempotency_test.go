package wire_test

import (
	"errors"
	"strings"
	"testing"

	"claviger"
	"claviger/internal/wire"
)

func TestIdempotency(t *testing.T) {
	s := start(t, nil)
	post := func(key, body string) answer {
		return s.do(t, "POST", "/v1/widgets", "good", body, wire.IdempotencyHeader, key)
	}
	first := post("k1", `{"name":"a"}`)
	if first.status != 201 || !strings.Contains(first.body, "the-secret") {
		t.Fatalf("first: %d %s", first.status, first.body)
	}
	again := post("k1", `{"name":"a"}`)
	if again.status != 201 || again.header.Get(wire.ReplayedHeader) != "true" || s.calls != 1 {
		t.Errorf("again: %d %q, %d calls", again.status, again.header.Get(wire.ReplayedHeader), s.calls)
	}
	if strings.Contains(again.body, "the-secret") || !strings.Contains(again.body, `"name":"a"`) {
		t.Errorf("again shows %s", again.body)
	}
	if a := post("k1", `{"name":"b"}`); a.status != 409 || a.error(t).Code != "idempotency_key_reused" {
		t.Errorf("reused: %d %s", a.status, a.body)
	}
	for _, bad := range []string{strings.Repeat("k", 256), "é"} {
		if a := post(bad, `{"name":"a"}`); a.status != 422 || a.error(t).Code != "invalid_idempotency_key" {
			t.Errorf("key %q: %d %s", bad, a.status, a.body)
		}
	}
	t.Run("a refusal is kept", func(t *testing.T) {
		s.calls, s.fail = 0, claviger.Errorf(claviger.KindConflict, "taken", "Taken.")
		post("k2", `{"name":"a"}`)
		if a := post("k2", `{"name":"a"}`); a.status != 409 || a.error(t).Code != "taken" || s.calls != 1 {
			t.Errorf("%d %s, %d calls", a.status, a.body, s.calls)
		}
	})
	t.Run("a fault is not", func(t *testing.T) {
		s.calls, s.fail = 0, errors.New("broken")
		post("k3", `{"name":"a"}`)
		s.fail = nil
		if a := post("k3", `{"name":"a"}`); a.status != 201 || s.calls != 2 {
			t.Errorf("%d %s, %d calls", a.status, a.body, s.calls)
		}
	})
	t.Run("while it runs", func(t *testing.T) {
		s.gate = make(chan struct{})
		done := make(chan answer)
		go func() { done <- post("k4", `{"name":"a"}`) }()
		<-s.began
		if a := post("k4", `{"name":"a"}`); a.status != 409 || a.error(t).Code != "idempotency_in_progress" {
			t.Errorf("%d %s", a.status, a.body)
		}
		close(s.gate)
		if a := <-done; a.status != 201 {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
}
