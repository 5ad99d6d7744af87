package clavigertest_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/client"
)

// hookSlot is a webhook slot of the given method and variables, with its secret at
// kv://<system>/<name>.
func hookSlot(system, key, method, variables, field, name string) string {
	return fmt.Sprintf(`{"key":%q,"usage":"webhookInbound","authType":"credential","credential":{"method":%q,"variables":%s,"security":{%q:"kv://%s/%s"}}}`,
		key, method, variables, field, system, name)
}

// hookSystem is a system that only receives, with the slots given.
func hookSystem(key string, slots ...string) json.RawMessage {
	return fmt.Appendf(nil, `{"key":%q,"displayName":"Hooks","description":"Receives.","type":"custom","authentications":[%s]}`, key, strings.Join(slots, ","))
}

// githubSlot verifies as GitHub signs.
func githubSlot(system string) string {
	return hookSlot(system, "webhook", "apikey", `{"headerName":"X-Hub-Signature-256","scheme":"github"}`, "apiKey", "hook")
}

const hookSecret = "hook_secret_canary_0001"

// hooked is a system whose webhooks are signed as GitHub's are.
type hooked struct {
	*clavigertest.Server
	*client.Client
	t    *testing.T
	key  string
	path string // of the address that nobody can guess
}

func (h *hooked) upload(key string, slots ...string) {
	h.t.Helper()
	if _, err := h.PutSystem(h.t.Context(), key, api.SystemUpload{System: hookSystem(key, slots...)}); err != nil {
		h.t.Fatalf("uploading: %v", err)
	}
}

func startHooked(t *testing.T, o clavigertest.Options) *hooked {
	t.Helper()
	s := clavigertest.Start(t, o)
	h := &hooked{Server: s, Client: s.Client(s.Key), t: t, key: "forge"}
	h.upload("forge", githubSlot("forge"))
	h.path = h.address("forge")
	setSecrets(t, h.Client, "forge/hook", hookSecret)
	return h
}

// address answers the path of a system's own webhook address.
func (h *hooked) address(system string) string {
	h.t.Helper()
	slots, err := h.Slots(h.t.Context(), system)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, slot := range slots {
		if slot.WebhookURL != "" {
			return "/webhooks/" + strings.SplitN(slot.WebhookURL, "/webhooks/", 2)[1]
		}
	}
	h.t.Fatal("the system has no webhook address")
	return ""
}

func hexMAC(secret, text string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

// signedHeader is what GitHub would send with a body.
func signedHeader(secret, body, id string) http.Header {
	return http.Header{
		"Content-Type": {"application/json"}, "X-Hub-Signature-256": {"sha256=" + hexMAC(secret, body)}, "X-Github-Delivery": {id}, "X-Github-Event": {"push"},
	}
}

// deliver sends a body to a path, signed with the secret.
func (h *hooked) deliver(path, secret, body, id string) *clavigertest.Answer {
	h.t.Helper()
	return h.Do(clavigertest.Call{Method: http.MethodPost, Path: path, Body: body, Header: signedHeader(secret, body, id)})
}

// accept delivers what must be taken, and answers the event's id.
func (h *hooked) accept(body, id string) string {
	h.t.Helper()
	a := h.deliver(h.path, hookSecret, body, id)
	if a.Status != http.StatusAccepted || !strings.HasPrefix(a.Field("id"), "evt_") {
		h.t.Fatalf("a delivery: %d %s", a.Status, a.Body)
	}
	return a.Field("id")
}

// events answers what is stored, newest first.
func (h *hooked) events(q client.InboundQuery) (out []api.InboundEvent) {
	h.t.Helper()
	for e, err := range h.InboundEvents(h.t.Context(), q) {
		if err != nil {
			h.t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

// settled waits until an event is no longer to be acted upon.
func (h *hooked) settled(id string) (e api.InboundEvent) {
	h.t.Helper()
	eventually(h.t, id+" is settled", func() bool {
		var err error
		if e, err = h.InboundEvent(h.t.Context(), id); err != nil {
			h.t.Fatal(err)
		}
		return e.Status != "received"
	})
	return e
}

// recorded waits until the ledger has so many entries about verifying deliveries that
// match: the end of each follows within moments.
func (h *hooked) recorded(what string, want int, match func(api.Entry) bool) {
	h.t.Helper()
	eventually(h.t, fmt.Sprintf("%d entries of %s", want, what), func() bool {
		got := 0
		for _, e := range h.Server.Audit(h.t, h.Key, "limit=100&verb=webhooks:receive") {
			if match(e) {
				got++
			}
		}
		return got == want
	})
}

// pauseFor gives a background job time, within the test's own.
func pauseFor(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
		t.Fatal("the test is over")
	}
}

// crmHooks is crm with a data source whose records are fetched when a webhook says so.
func crmHooks(t *testing.T, base string) api.SystemUpload {
	t.Helper()
	return api.SystemUpload{
		System: crm(base),
		DataSources: []json.RawMessage{json.RawMessage(`{"key":"contacts","displayName":"Contacts","systemKey":"example-crm","entityType":"recordStorage","resourceType":"contact",
			"primaryKey":["id"],"externalId":"id","fieldMappings":{"attributes":{"id":{"expression":"{{raw.id}}","type":"string","indexed":true}}},
			"capabilities":{"get":{"method":"GET","path":"/contacts/{id}"}},
			"webhook":{"enabled":true,"idPath":"$.contact.id"}}`)},
	}
}

func hexSHA1(secret, text string) string {
	mac := hmac.New(sha1.New, []byte(secret))
	_, _ = mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}
