package clavigertest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"claviger/clavigertest"
	"claviger/clavigertest/signers"
)

// Twilio signs the address that it was given, the public one, and with it either the
// fields of a form or the hash of any other body.
func TestTwiliosLibrarySignsForTheRunningServer(t *testing.T) {
	p := signers.Start(t)
	s := clavigertest.Start(t, clavigertest.Options{PublicURL: "https://hooks.example.com"})
	h := &hooked{Server: s, Client: s.Client(s.Key), t: t}
	h.upload("phone", hookSlot("phone", "webhook", "apikey", `{"headerName":"X-Twilio-Signature"}`, "apiKey", "hook"))
	const token = "0123456789abcdef0123456789abcdef"
	setSecrets(t, h.Client, "phone/hook", token)
	path := h.address("phone")
	public := "https://hooks.example.com" + path
	send := func(target, signature, kind string, body []byte) int {
		t.Helper()
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		return h.Do(clavigertest.Call{Method: http.MethodPost, Path: u.RequestURI(), Body: string(body), Header: http.Header{"Content-Type": {kind}, "X-Twilio-Signature": {signature}}}).Status
	}
	t.Run("a form", func(t *testing.T) {
		const kind = "application/x-www-form-urlencoded"
		fields := map[string]string{"From": "+14158675310", "Body": "hi & \u00e9t\u00e9 + 100%", "MessageSid": "SM1", "Empty": ""}
		sign := func(address string) (string, []byte) {
			headers, body := p.Sign(t, signers.Twilio, map[string]any{"secret": token, "url": address, "params": fields})
			return headers["x-twilio-signature"], body
		}
		signature, body := sign(public + "?room=1&room=2")
		if got := send(public+"?room=1&room=2", signature, kind, body); got != http.StatusAccepted {
			t.Fatalf("what the library signs: %d", got)
		}
		if got := send(public+"?room=1&room=2", signature, kind, body); got != http.StatusOK {
			t.Errorf("a copy: %d", got)
		}
		withPort, body := sign(strings.Replace(public, "example.com", "example.com:443", 1))
		if got := send(public, withPort, kind, body); got != http.StatusAccepted {
			t.Errorf("signed with the default port: %d", got)
		}
		for name, got := range map[string]int{
			"another query":     send(public+"?room=1&room=3", signature, kind, body),
			"no query":          send(public, signature, kind, body),
			"one more field":    send(public+"?room=1&room=2", signature, kind, append(body[:len(body):len(body)], "&To=1"...)),
			"a field less":      send(public+"?room=1&room=2", signature, kind, []byte("From=%2B14158675310")),
			"no form any more":  send(public+"?room=1&room=2", signature, "text/plain", body),
			"another address":   send(strings.Replace(public, path, "/webhooks/phone", 1)+"?room=1&room=2", signature, kind, body),
			"without signature": send(public+"?room=1&room=2", "", kind, body),
		} {
			if got != http.StatusUnauthorized {
				t.Errorf("%s: %d", name, got)
			}
		}
		if elsewhere, body := sign("https://hooks.example.org" + path); send(public, elsewhere, kind, body) != http.StatusUnauthorized {
			t.Error("signed for another host, it is taken")
		}
	})
	t.Run("a body of another kind", func(t *testing.T) {
		const kind = "application/json"
		headers, body := p.Sign(t, signers.Twilio, map[string]any{"secret": token, "url": public, "body": `[{"type":"com.twilio.messaging.message.sent"}]`})
		target, signature := headers["url"], headers["x-twilio-signature"]
		if got := send(target, signature, kind, body); got != http.StatusAccepted {
			t.Fatalf("what the library signs: %d", got)
		}
		for name, got := range map[string]int{
			"a copy with another body": send(target, signature, kind, []byte(strings.Replace(string(body), "sent", "read", 1))),
			"without the hash":         send(public, signature, kind, body),
			"as a form":                send(target, signature, "application/x-www-form-urlencoded", body),
		} {
			if got != http.StatusUnauthorized {
				t.Errorf("%s: %d", name, got)
			}
		}
	})
}
