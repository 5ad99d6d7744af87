package clavigertest_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/client"
)

func TestADeliveryIsStoredOnceAndActedUpon(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		h := startHooked(t, clavigertest.Options{Engine: engine})
		body := `{"ref":"refs/heads/main","n":1}`
		id := h.accept(body, "d-1")
		again := h.deliver(h.path, hookSecret, body, "d-1")
		if again.Status != http.StatusOK || again.Field("id") != id {
			t.Errorf("the same again: %d %s", again.Status, again.Body)
		}
		e := h.settled(id)
		if e.Status != "processed" || e.Type != "push" || e.DeliveryID != "d-1" || e.Slot != "webhook" || e.Body == nil || *e.Body != body || e.Size != len(body) || e.BodyEncoding != "utf-8" {
			t.Errorf("the event: %+v", e)
		}
		if byKey := h.deliver("/webhooks/forge", hookSecret, `{"n":2}`, "d-2"); byKey.Status != http.StatusAccepted {
			t.Errorf("by the key alone: %d %s", byKey.Status, byKey.Body)
		}
		if list := h.events(client.InboundQuery{SystemKey: "forge"}); len(list) != 2 || list[0].Body != nil {
			t.Errorf("the list: %+v", list)
		}
		if list := h.events(client.InboundQuery{SystemKey: "forge", Status: "failed"}); len(list) != 0 {
			t.Errorf("failed ones: %+v", list)
		}
		if e, err := h.ReplayInboundEvent(t.Context(), id); err != nil || e.Status != "received" || e.Attempts != 0 {
			t.Errorf("replayed: %+v %v", e, err)
		}
		if e = h.settled(id); e.Status != "processed" || e.Attempts != 1 {
			t.Errorf("after the replay: %+v", e)
		}
		h.recorded("which slot verified with which value", 3, func(e api.Entry) bool {
			return e.Outcome == "succeeded" && e.Slot == "webhook" && e.Usage == "webhookInbound" && e.Action == "key v1" && e.Host == ""
		})
	})
}

func TestAbuse_152_ASlotWithoutASecretRefuses(t *testing.T) {
	s := clavigertest.Start(t, clavigertest.Options{})
	h := &hooked{Server: s, Client: s.Client(s.Key), t: t}
	h.upload("forge", githubSlot("forge"))
	h.path = h.address("forge")
	refused := func(t *testing.T, name, secret string) {
		t.Helper()
		for _, signedWith := range []string{"", " ", secret} {
			if a := h.deliver(h.path, signedWith, `{"n":1}`, "d"); a.Status != http.StatusUnauthorized || a.Fault().Code != "delivery_refused" {
				t.Errorf("%s, signed with %q: %d %s", name, signedWith, a.Status, a.Body)
			}
		}
		if stored := h.events(client.InboundQuery{}); len(stored) != 0 {
			t.Errorf("%s: stored %+v", name, stored)
		}
	}
	refused(t, "never set", "hook_secret_of_nobody")
	for _, weak := range []string{"        ", "changeme", "short", "your-secret-here", "xxxxxxxxxxxx"} {
		setSecrets(t, h.Client, "forge/hook", weak)
		refused(t, weak, weak)
	}
	setSecrets(t, h.Client, "forge/hook", hookSecret)
	exec(t, database(t, s), "UPDATE secrets SET sealed = $1 WHERE path = 'forge/hook'", []byte("this was a ciphertext once, before somebody wrote over it"))
	refused(t, "unreadable", hookSecret)
	h.recorded("a missing secret", 3, func(e api.Entry) bool { return e.Code == "secret_missing" })
	h.recorded("secrets that are none", 15, func(e api.Entry) bool { return e.Code == "slot_not_configured" })
	h.upload("bare", `{"key":"default","usage":"api","authType":"none"}`)
	if a := h.deliver("/webhooks/bare", hookSecret, `{}`, "d"); a.Status != http.StatusUnauthorized || a.Fault().Code != "delivery_refused" {
		t.Errorf("a system without a slot: %d %s", a.Status, a.Body)
	}
}

func TestAbuse_151_153_OnlyTheSlotsOwnSecretVerifies(t *testing.T) {
	h := startHooked(t, clavigertest.Options{})
	h.upload("other", githubSlot("other"))
	setSecrets(t, h.Client, "other/hook", "hook_secret_of_other_1", "forge/api", "api_secret_of_forge_1")
	body := `{"n":1}`
	for name, secret := range map[string]string{"another system's": "hook_secret_of_other_1", "an api secret": "api_secret_of_forge_1", "one bit off": hookSecret[:len(hookSecret)-1] + "0"} {
		if a := h.deliver(h.path, secret, body, "d"); a.Status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
	good := hexMAC(hookSecret, body)
	for name, header := range map[string][]string{
		"none": nil, "empty": {""}, "truncated": {"sha256=" + good[:62]}, "upper case": {"sha256=" + strings.ToUpper(good)},
		"twice": {"sha256=" + good, "sha256=" + good}, "downgraded": {"sha1=" + good[:40]}, "bare": {good},
	} {
		a := h.Do(clavigertest.Call{Method: http.MethodPost, Path: h.path, Body: body, Header: http.Header{"X-Hub-Signature-256": header}})
		if a.Status != http.StatusUnauthorized {
			t.Errorf("a signature that is %s: %d %s", name, a.Status, a.Body)
		}
	}
	if a := h.Do(clavigertest.Call{Method: http.MethodPost, Path: h.path, Body: body + " ", Header: signedHeader(hookSecret, body, "d")}); a.Status != http.StatusUnauthorized {
		t.Errorf("one byte more: %d", a.Status)
	}
	if stored := h.events(client.InboundQuery{}); len(stored) != 0 {
		t.Errorf("stored: %+v", stored)
	}
}

func TestAbuse_154_TwoSecretsDuringARotation(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		clock := &movingClock{}
		h := startHooked(t, clavigertest.Options{Engine: engine, Now: clock.now})
		status := func(secret, body string) int { return h.deliver(h.path, secret, body, "d-"+body).Status }
		if got := status(hookSecret, `1`); got != http.StatusAccepted {
			t.Fatalf("before: %d", got)
		}
		const second, third = "hook_secret_second_0002", "hook_secret_third_00003"
		setSecrets(t, h.Client, "forge/hook", second)
		if a, b := status(hookSecret, `2`), status(second, `3`); a != http.StatusAccepted || b != http.StatusAccepted {
			t.Errorf("within the window: old %d, new %d", a, b)
		}
		both := h.Do(clavigertest.Call{Method: http.MethodPost, Path: h.path, Body: `4`, Header: http.Header{"X-Hub-Signature-256": {"sha256=" + hexMAC(second, `4`)}}})
		if both.Status != http.StatusAccepted {
			t.Errorf("the new one alone: %d", both.Status)
		}
		for _, key := range []string{"key v1", "key v2"} {
			h.recorded(key, 2, func(e api.Entry) bool { return e.Outcome == "succeeded" && e.Action == key })
		}
		clock.add(24*time.Hour - time.Second)
		if a := status(hookSecret, `5`); a != http.StatusAccepted {
			t.Errorf("a second before the end: %d", a)
		}
		clock.add(time.Second)
		if a, b := status(hookSecret, `6`), status(second, `7`); a != http.StatusUnauthorized || b != http.StatusAccepted {
			t.Errorf("after the window: old %d, new %d", a, b)
		}
		setSecrets(t, h.Client, "forge/hook", third)
		h.App.Sweep(t.Context())
		if a, b := status(second, `8`), status(hookSecret, `9`); a != http.StatusAccepted || b != http.StatusUnauthorized {
			t.Errorf("after another rotation: the one before %d, the first %d", a, b)
		}
		if _, err := h.DeleteSecret(t.Context(), "forge/hook"); err != nil {
			t.Fatal(err)
		}
		if a, b := status(third, `10`), status(second, `11`); a != http.StatusUnauthorized || b != http.StatusUnauthorized {
			t.Errorf("after the secret was deleted: %d and %d", a, b)
		}
	})
}

// movingClock is a clock that can be moved on.
type movingClock struct {
	mu    sync.Mutex
	moved time.Duration
}

func (c *movingClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.moved)
}

func (c *movingClock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moved += d
}

func TestAbuse_156_ACopyActsOnce(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		clock := &movingClock{}
		h := startHooked(t, clavigertest.Options{Engine: engine, Now: clock.now})
		body := `{"paid":true}`
		var mu sync.Mutex
		ids, statuses := map[string]int{}, map[int]int{}
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for range 50 {
					a, err := h.Send(clavigertest.Call{Method: http.MethodPost, Path: h.path, Body: body, Header: signedHeader(hookSecret, body, "d-1")})
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					ids[a.Field("id")]++
					statuses[a.Status]++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if len(ids) != 1 || statuses[http.StatusAccepted] != 1 || statuses[http.StatusOK] != 999 {
			t.Errorf("1000 copies: ids %v, statuses %v", ids, statuses)
		}
		same := h.deliver(h.path, hookSecret, body, "another id")
		if _, known := ids[same.Field("id")]; same.Status != http.StatusOK || !known {
			t.Errorf("the same body under another id: %d %s", same.Status, same.Body)
		}
		o := h.Options()
		second := clavigertest.Start(t, o)
		elsewhere := &hooked{Server: second, Client: second.Client(h.Key), t: t, path: h.path}
		if a := elsewhere.deliver(h.path, hookSecret, body, "d-1"); a.Status != http.StatusOK {
			t.Errorf("on another node: %d %s", a.Status, a.Body)
		}
		clock.add(time.Hour)
		if a := h.deliver(h.path, hookSecret, body, "d-1"); a.Status != http.StatusOK {
			t.Errorf("an hour later: %d %s", a.Status, a.Body)
		}
		if a := h.deliver(h.path, hookSecret, `{"paid":false}`, "d-1"); a.Status != http.StatusAccepted {
			t.Errorf("the same id with another body: %d %s", a.Status, a.Body)
		}
		if n := len(h.events(client.InboundQuery{})); n != 2 {
			t.Errorf("%d events are stored, want 2", n)
		}
		h.recorded("an id that was used again", 1, func(e api.Entry) bool { return e.Code == "delivery_id_reused" })
		if !strings.Contains(h.Logs.String(), "delivery id came again") {
			t.Error("the log does not tell of the id that was used again")
		}
	})
}

func TestAbuse_153_163_AddressesThatLeadNowhereLookAlike(t *testing.T) {
	h := startHooked(t, clavigertest.Options{})
	h.upload("gone", githubSlot("gone"))
	gone := h.address("gone")
	if _, err := h.DeleteSystem(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	hook := strings.Split(h.path, "/")[2]
	if len(hook) != 30 || !strings.HasPrefix(hook, "whk_") {
		t.Errorf("the unguessable part is %q", hook)
	}
	seen := map[string]bool{}
	for _, path := range []string{
		"/webhooks/nobody", gone, "/webhooks/gone", strings.Replace(h.path, "forge", "gone", 1), "/webhooks/whk_00000000000000000000000000/forge", "/webhooks/whk_/forge",
		"/webhooks/" + hook, h.path + "/no-such-source", h.path + "/a/b", "/webhooks/", "/nothing/here",
	} {
		a := h.deliver(path, hookSecret, `{}`, "d")
		f := a.Fault()
		f.RequestID = ""
		seen[http.StatusText(a.Status)+" "+f.Code+" "+f.Message] = true
		if a.Status != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
	}
	if len(seen) != 1 {
		t.Errorf("they differ: %v", seen)
	}
	made, err := h.CreateOrganization(t.Context(), api.CreateOrganization{Name: "Beta"})
	if err != nil {
		t.Fatal(err)
	}
	beta := &hooked{Server: h.Server, Client: h.Server.Client(made.APIKey), t: t}
	beta.upload("forge", githubSlot("forge"))
	setSecrets(t, beta.Client, "forge/hook", "hook_secret_of_beta_001")
	beta.path = beta.address("forge")
	beta.upload("only-beta", githubSlot("only-beta"))
	for _, path := range []string{"/webhooks/only-beta", strings.Replace(h.path, "forge", "only-beta", 1)} {
		if a := h.deliver(path, "hook_secret_of_beta_001", `{}`, "d"); a.Status != http.StatusNotFound {
			t.Errorf("%s, which is another organization's: %d %s", path, a.Status, a.Body)
		}
	}
	for path, secret := range map[string]string{h.path: "hook_secret_of_beta_001", "/webhooks/forge": "hook_secret_of_beta_001", beta.path: hookSecret} {
		if a := h.deliver(path, secret, `{}`, "d"); a.Status != http.StatusUnauthorized {
			t.Errorf("%s with the other organization's secret: %d %s", path, a.Status, a.Body)
		}
	}
	if a := beta.deliver(beta.path, "hook_secret_of_beta_001", `{"n":0}`, "d"); a.Status != http.StatusAccepted || len(h.events(client.InboundQuery{})) != 0 {
		t.Errorf("the other organization's own: %d %s", a.Status, a.Body)
	}
	limited := false
	for i := range 2000 {
		if a := h.deliver("/webhooks/guess-"+strings.Repeat("x", i%50)+string(rune('a'+i%26)), hookSecret, `{}`, "d"); a.Status == http.StatusTooManyRequests {
			limited = true
			break
		}
	}
	if !limited {
		t.Error("guessing has no limit")
	}
	if a := h.deliver(h.path, hookSecret, `{"n":1}`, "d"); a.Status != http.StatusAccepted {
		t.Errorf("a delivery in the meantime: %d %s", a.Status, a.Body)
	}
}
