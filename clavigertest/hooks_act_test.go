package clavigertest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/acme"
	"claviger/client"
)

// told is an organization's own endpoint, which keeps what it is told.
type told struct {
	server *httptest.Server
	mu     sync.Mutex
	events map[string]map[string]int // by the id of the delivery: how often each message id came
	data   map[string]toldData
	more   chan struct{}
}

// toldData is the data of an event webhook.received.
type toldData struct {
	ID, SystemKey, DataSource, Type, DeliveryID string
	Payload, Record                             json.RawMessage
	PayloadOmitted                              bool
}

func startTold(t *testing.T) *told {
	t.Helper()
	x := &told{events: map[string]map[string]int{}, data: map[string]toldData{}, more: make(chan struct{}, 1)}
	x.server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var message struct {
			Type string
			Data toldData
		}
		text, err := io.ReadAll(r.Body)
		if err != nil || json.Unmarshal(text, &message) != nil || message.Type != "webhook.received" {
			t.Errorf("the endpoint was sent %s (%v)", text, err)
			return
		}
		x.mu.Lock()
		if x.events[message.Data.ID] == nil {
			x.events[message.Data.ID] = map[string]int{}
		}
		x.events[message.Data.ID][r.Header.Get("webhook-id")]++
		x.data[message.Data.ID] = message.Data
		x.mu.Unlock()
		select {
		case x.more <- struct{}{}:
		default:
		}
	}))
	t.Cleanup(x.server.Close)
	return x
}

func (x *told) addr() string { return x.server.Listener.Addr().String() }

// of waits until the endpoint has been told of a delivery.
func (x *told) of(t *testing.T, id string) toldData {
	t.Helper()
	deadline := time.NewTimer(longest)
	defer deadline.Stop()
	for {
		x.mu.Lock()
		data, ok := x.data[id]
		x.mu.Unlock()
		if ok {
			return data
		}
		select {
		case <-x.more:
		case <-deadline.C:
			t.Fatalf("nobody was told of %s", id)
		}
	}
}

// messages answers how many different events told of a delivery.
func (x *told) messages(id string) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.events[id])
}

// listen has the endpoint told of deliveries.
func (x *told) listen(t *testing.T, c *client.Client) {
	t.Helper()
	if _, err := c.CreateEventEndpoint(t.Context(), api.CreateEventEndpoint{URL: x.server.URL, Events: []string{"webhook.received"}}); err != nil {
		t.Fatal(err)
	}
}

func TestADeliveryIsToldToTheOrganizationsEndpoints(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		x := startTold(t)
		h := startHooked(t, clavigertest.Options{Engine: engine, EgressAllow: x.addr()})
		x.listen(t, h.Client)
		id := h.accept(`{"n": 1}`, "d-1")
		got := x.of(t, id)
		if got.SystemKey != "forge" || got.Type != "push" || got.DeliveryID != "d-1" || string(got.Payload) != `{"n":1}` {
			t.Errorf("told %+v with the payload %s", got, got.Payload)
		}
		long := h.accept(`{"n":"`+strings.Repeat("x", 40<<10)+`"}`, "d-2")
		if got := x.of(t, long); !got.PayloadOmitted || got.Payload != nil {
			t.Errorf("of a long one: %+v", got)
		}
		h.settled(id)
		if _, err := h.ReplayInboundEvent(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the second telling", func() bool { return x.messages(id) == 2 })
	})
}

func TestAbuse_158_OnlyWhatSaysThatItIsJSONIsParsed(t *testing.T) {
	x := startTold(t)
	h := startHooked(t, clavigertest.Options{EgressAllow: x.addr()})
	x.listen(t, h.Client)
	for kind, want := range map[string]string{
		"application/json": `{"n":1}`, "application/vnd.acme+json; charset=UTF-8": `{"n":1}`,
		"application/json; charset=utf-16": `"{\"n\":1}"`, "text/plain": `"{\"n\":1}"`, "application/xml": `"{\"n\":1}"`, "": `"{\"n\":1}"`,
		"multipart/form-data; boundary=../../etc/passwd": `"{\"n\":1}"`, "application/json, application/json": `"{\"n\":1}"`,
	} {
		body := `{"n":1}` + strings.Repeat(" ", len(kind)) // another delivery each
		header := signedHeader(hookSecret, body, "")
		header["Content-Type"] = []string{kind}
		a := h.Do(clavigertest.Call{Method: http.MethodPost, Path: h.path, Body: body, Header: header})
		if a.Status != http.StatusAccepted {
			t.Errorf("%s: %d %s", kind, a.Status, a.Body)
			continue
		}
		if got := strings.TrimRight(strings.TrimSuffix(string(x.of(t, a.Field("id")).Payload), `"`), " "); got != strings.TrimSuffix(want, `"`) {
			t.Errorf("%s was told as %s, want %s", kind, got, want)
		}
		header["X-Hub-Signature-256"] = []string{"sha256=" + hexMAC("another_secret_of_all", body)}
		if a := h.Do(clavigertest.Call{Method: http.MethodPost, Path: h.path, Body: body, Header: header}); a.Status != http.StatusUnauthorized {
			t.Errorf("%s, forged: %d", kind, a.Status)
		}
	}
}

// crmHooked is crm with a data source whose records are fetched, and a vendor that has
// one of them.
func crmHooked(t *testing.T, engine clavigertest.Engine, x *told) (*hooked, *acme.Vendor) {
	t.Helper()
	vendor := acme.Start(t, crmAPIKey, crmSyncKey)
	s := clavigertest.Start(t, clavigertest.Options{Engine: engine, EgressAllow: vendor.Addr() + "," + x.addr()})
	h := &hooked{Server: s, Client: s.Client(s.Key), t: t}
	x.listen(t, h.Client)
	if _, err := h.PutSystem(t.Context(), "example-crm", crmHooks(t, "http://"+vendor.Addr()+acme.Base)); err != nil {
		t.Fatal(err)
	}
	vendor.Behave(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"record":%q}`, r.URL.Path)
	})
	setSecrets(t, h.Client, "example-crm/apiKey", crmAPIKey, "example-crm/webhookSecret", crmHookKey)
	h.path = h.address("example-crm") + "/contacts"
	return h, vendor
}

// crmDeliver delivers to crm, whose vendor signs as X-Hub-Signature says.
func crmDeliver(h *hooked, body string) string {
	h.t.Helper()
	a := h.Do(clavigertest.Call{Method: http.MethodPost, Path: h.path, Body: body, Header: http.Header{
		"Content-Type": {"application/json"}, "X-Hub-Signature": {"sha1=" + hexSHA1(crmHookKey, body)},
	}})
	if a.Status != http.StatusAccepted {
		h.t.Fatalf("a delivery: %d %s", a.Status, a.Body)
	}
	return a.Field("id")
}

func TestAbuse_168_WithoutItsOwnSlotAnEventWaits(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		x := startTold(t)
		h, vendor := crmHooked(t, engine, x)
		first, second := crmDeliver(h, `{"contact":{"id":"c-1"}}`), crmDeliver(h, `{"contact":{"id":77}}`)
		for _, id := range []string{first, second} {
			if e := h.settled(id); e.Status != "parked" || e.Code != "secret_missing" || e.DataSource != "contacts" {
				t.Errorf("without the value of syncExecution: %+v", e)
			}
		}
		for _, r := range vendor.Received() {
			t.Errorf("the vendor was asked %s with %s", r.Target, r.Header.Get("X-Api-Key"))
		}
		setSecrets(t, h.Client, "example-crm/syncApiKey", crmSyncKey)
		h.App.Sweep(t.Context())
		for id, path := range map[string]string{first: "/contacts/c-1", second: "/contacts/77"} {
			eventually(t, "what was parked is processed", func() bool { return h.settled(id).Status == "processed" })
			if got := x.of(t, id); !strings.Contains(string(got.Record), path) || got.DataSource != "contacts" {
				t.Errorf("told %s of %s", got.Record, id)
			}
		}
		for _, r := range vendor.Received() {
			if r.Header.Get("X-Api-Key") != crmSyncKey {
				t.Errorf("the vendor saw the key %s", r.Header.Get("X-Api-Key"))
			}
		}
		if n := len(vendor.Received()); n != 2 {
			t.Errorf("the vendor was asked %d times", n)
		}
	})
}

// Without the slot itself, too, and whatever the api slot could do.
func TestAbuse_168_WithoutASlotAtAllAnEventWaits(t *testing.T) {
	x := startTold(t)
	h, vendor := crmHooked(t, clavigertest.SQLite, x)
	setSecrets(t, h.Client, "example-crm/syncApiKey", crmSyncKey)
	whole := crmHooks(t, "http://"+vendor.Addr()+acme.Base)
	var document map[string]any
	if err := json.Unmarshal(whole.System, &document); err != nil {
		t.Fatal(err)
	}
	slots, _ := document["authentications"].([]any)
	document["authentications"] = slots[:2] // api and webhookInbound
	without := whole
	without.System, _ = json.Marshal(document)
	if _, err := h.PutSystem(t.Context(), "example-crm", without); err != nil {
		t.Fatal(err)
	}
	id := crmDeliver(h, `{"contact":{"id":"c-1"}}`)
	if e := h.settled(id); e.Status != "parked" || e.Code != "missing_slot" {
		t.Errorf("without syncExecution: %+v", e)
	}
	h.App.Sweep(t.Context())
	for _, r := range vendor.Received() {
		t.Errorf("the vendor was asked %s with %s", r.Target, r.Header.Get("X-Api-Key"))
	}
	if _, err := h.PutSystem(t.Context(), "example-crm", whole); err != nil {
		t.Fatal(err)
	}
	setSecrets(t, h.Client, "example-crm/syncApiKey", crmSyncKey)
	h.App.Sweep(t.Context())
	for h.settled(id).Status != "processed" {
		pauseFor(t, 20*time.Millisecond)
	}
	if got := x.of(t, id); !strings.Contains(string(got.Record), "/contacts/c-1") {
		t.Errorf("told %s", got.Record)
	}
}

func TestAbuse_246_APoisonDeliveryHoldsNobodyUp(t *testing.T) {
	x := startTold(t)
	h, vendor := crmHooked(t, clavigertest.SQLite, x)
	setSecrets(t, h.Client, "example-crm/syncApiKey", crmSyncKey)
	vendor.Behave(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/poison") {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"ok":true}`)
	})
	poison := crmDeliver(h, `{"contact":{"id":"poison"}}`)
	var good []string
	for i := range 5 {
		good = append(good, crmDeliver(h, fmt.Sprintf(`{"contact":{"id":"g%d"}}`, i)))
	}
	odd := crmDeliver(h, `{"contact":{"id":{"deep":[[[[]]]]}}}`)
	for _, id := range good {
		x.of(t, id)
		if e := h.settled(id); e.Status != "processed" {
			t.Errorf("a good one: %+v", e)
		}
	}
	if e := h.settled(odd); e.Status != "processed" || e.Code != "no_record_id" {
		t.Errorf("one without an id: %+v", e)
	}
	if e, err := h.InboundEvent(t.Context(), poison); err != nil || e.Status != "received" || e.Code == "" || e.Attempts == 0 {
		t.Errorf("the poison: %+v %v", e, err)
	}
}

func TestHandshakes(t *testing.T) {
	s := clavigertest.Start(t, clavigertest.Options{})
	h := &hooked{Server: s, Client: s.Client(s.Key), t: t}
	t.Run("Slack asks", func(t *testing.T) {
		h.upload("chat", hookSlot("chat", "webhook", "hmac", `{"scheme":"slack"}`, "signingSecret", "hook"))
		setSecrets(t, h.Client, "chat/hook", hookSecret)
		body, now := `{"type":"url_verification","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}`, fmt.Sprint(time.Now().Unix())
		header := http.Header{"Content-Type": {"application/json"}, "X-Slack-Request-Timestamp": {now}, "X-Slack-Signature": {"v0=" + hexMAC(hookSecret, "v0:"+now+":"+body)}}
		a := h.Do(clavigertest.Call{Method: http.MethodPost, Path: h.address("chat"), Body: body, Header: header})
		if a.Status != http.StatusOK || !strings.Contains(string(a.Body), "3eZbrw1aBm2rZgRNFdxV") {
			t.Errorf("the answer: %d %s", a.Status, a.Body)
		}
		header["X-Slack-Signature"] = []string{"v0=" + hexMAC("another_secret_of_all", "v0:"+now+":"+body)}
		if a := h.Do(clavigertest.Call{Method: http.MethodPost, Path: h.address("chat"), Body: body, Header: header}); a.Status != http.StatusUnauthorized {
			t.Errorf("to a stranger: %d %s", a.Status, a.Body)
		}
	})
	t.Run("Dropbox asks by GET", func(t *testing.T) {
		h.upload("files", hookSlot("files", "webhook", "hmac", `{"scheme":"dropbox"}`, "signingSecret", "hook"))
		setSecrets(t, h.Client, "files/hook", hookSecret)
		a := h.Do(clavigertest.Call{Method: http.MethodGet, Path: h.address("files") + "?challenge=abc-123"})
		if a.Status != http.StatusOK || string(a.Body) != "abc-123" || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/plain") {
			t.Errorf("the answer: %d %q %v", a.Status, a.Body, a.Header)
		}
	})
	t.Run("Asana hands over its secret", func(t *testing.T) {
		h.upload("tasks", hookSlot("tasks", "webhook", "hmac", `{"scheme":"asana"}`, "signingSecret", "hook"))
		shake := func(secret string) *clavigertest.Answer {
			return h.Do(clavigertest.Call{Method: http.MethodPost, Path: h.address("tasks"), Body: `{}`, Header: http.Header{"X-Hook-Secret": {secret}}})
		}
		if a := shake("secret_of_a_stranger_1"); a.Status != http.StatusUnauthorized {
			t.Errorf("when nobody waits for it: %d %s", a.Status, a.Body)
		}
		if _, err := h.AwaitHandshake(t.Context(), "tasks", ""); err != nil {
			t.Fatal(err)
		}
		if a := shake(hookSecret); a.Status != http.StatusOK || a.Header.Get("X-Hook-Secret") != hookSecret {
			t.Errorf("when it is waited for: %d %s", a.Status, a.Body)
		}
		if a := shake("secret_of_a_stranger_2"); a.Status != http.StatusUnauthorized {
			t.Errorf("once more: %d %s", a.Status, a.Body)
		}
		body := `{"events":[{"action":"changed"}]}`
		a := h.Do(clavigertest.Call{Method: http.MethodPost, Path: h.address("tasks"), Body: body, Header: http.Header{"X-Hook-Signature": {hexMAC(hookSecret, body)}}})
		if a.Status/100 != 2 {
			t.Errorf("a delivery: %d %s", a.Status, a.Body)
		}
		if _, err := h.AwaitHandshake(t.Context(), "tasks", "webhook"); !client.HasCode(err, "secret_exists") {
			t.Errorf("waiting with a secret: %v", err)
		}
	})
}
