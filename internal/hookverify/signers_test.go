package hookverify_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"claviger/clavigertest/signers"
	"claviger/internal/hookverify"
)

// What the vendors' own libraries sign is accepted, and nothing that differs in a byte.
func TestVendorsLibraries(t *testing.T) {
	p := signers.Start(t)
	const whsec = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	for _, c := range []struct {
		what, library, scheme, secret string
		args                          map[string]any
	}{
		{"", signers.StandardWebhooks, "standard-webhooks", whsec, map[string]any{"body": `{"type":"greeting","text":"grüße"}`}},
		{"", signers.Svix, "svix", whsec, map[string]any{"body": "{}", "id": "msg_7"}},
		{"", signers.Stripe, "stripe", "whsec_of_stripe", map[string]any{"body": `{"id":"evt_1","object":"event"}`}},
		{"", signers.Octokit, "github", "a secret of GitHub", map[string]any{"body": "{\"a\":\n\t1}"}},
		{"JSON", signers.Twilio, "twilio", "12345678901234567890", map[string]any{"url": "https://hooks.example.com/sms?a=b%20c", "body": `{"a":1}`}},
		{"with a port", signers.Twilio, "twilio", "12345678901234567890", map[string]any{"url": "https://hooks.example.com:443/sms", "params": map[string]string{"From": "+14158675310", "Body": "hi & bye", "empty": ""}}},
		{"a form", signers.Twilio, "twilio", "12345678901234567890", map[string]any{"url": "https://hooks.example.com/sms", "params": map[string]string{"b": "2", "B": "1", "a": "ü"}}},
		{"", signers.Slack, "slack", "8f742231b10e8888abcd99yyyzzz85a5", map[string]any{"body": "token=x&text=hello+there"}},
		{"", signers.Shopify, "shopify", "hush-hush", map[string]any{"body": `{"id":1}`}},
	} {
		t.Run(c.library+c.what, func(t *testing.T) {
			c.args["secret"] = c.secret
			headers, body := p.Sign(t, c.library, c.args)
			req := &hookverify.Request{Method: http.MethodPost, URL: "https://hooks.example.com/", Header: http.Header{}, Body: body}
			if address, ok := c.args["url"].(string); ok {
				req.URL = address
				if c.args["params"] != nil {
					req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
				}
			}
			for name, value := range headers {
				if name == "url" {
					req.URL = value
					continue
				}
				req.Header.Set(name, value)
			}
			s := scheme(t, c.scheme, nil)
			keys := []hookverify.Key{mustKey(t, s, "k", c.secret)}
			now := time.Now()
			for range 2 {
				if _, err := hookverify.Verify(s, keys, req, now); err != nil {
					t.Fatalf("%v: %v", headers, err)
				}
			}
			without := clone(req)
			without.URL = strings.Replace(req.URL, ":443", "", 1)
			if _, err := hookverify.Verify(s, keys, without, now); err != nil {
				t.Errorf("without the port: %v", err)
			}
			if s.Timed() {
				if _, err := hookverify.Verify(s, keys, req, now.Add(6*time.Minute)); code(err) != hookverify.CodeTimestampOutside {
					t.Errorf("six minutes later: %v", err)
				}
			}
			req.Body[len(req.Body)/2] ^= 1
			if _, err := hookverify.Verify(s, keys, req, now); err == nil {
				t.Error("a changed body is accepted")
			}
		})
	}
}
