package hookverify_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"claviger/internal/hookverify"
)

// get makes a request with a query.
func get(method string, query url.Values, headers ...string) *hookverify.Request {
	req := post("", headers...)
	req.Method, req.Body = method, nil
	if len(query) > 0 {
		req.URL += "?" + query.Encode()
	}
	return req
}

func slackSigned(secret, body string) []string {
	return []string{"X-Slack-Request-Timestamp", "1700000000", "X-Slack-Signature", "v0=" + hex.EncodeToString(hmac256(secret, "v0:1700000000:"+body))}
}

func TestHandshakes(t *testing.T) {
	const (
		slackAsks   = `{"type":"url_verification","challenge":"3eZbrw1a"}`
		zoomAsks    = `{"event":"endpoint.url_validation","payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"}}`
		twitchAsks  = `{"challenge":"pogchamp-kappa"}`
		discordPing = `{"type":1}`
	)
	zoomSigned := []string{"x-zm-request-timestamp", "1700000000", "x-zm-signature", "v0=" + hex.EncodeToString(hmac256(secretA, "v0:1700000000:"+zoomAsks))}
	crc := base64.StdEncoding.EncodeToString(hmac256(secretA, "MTIzNDU2"))
	for _, c := range []struct {
		scheme   string
		settings map[string]string
		req      *hookverify.Request
		body     string
		mime     string
		code     string
		none     bool
	}{
		{scheme: "slack", req: post(slackAsks, slackSigned(secretA, slackAsks)...), body: "3eZbrw1a", mime: "text/plain"},
		{scheme: "slack", req: post(slackAsks, slackSigned(secretB, slackAsks)...), code: hookverify.CodeSignatureMismatch},
		{scheme: "slack", req: post(slackAsks), code: hookverify.CodeSignatureMissing},
		{scheme: "slack", req: post(`{"type":"event_callback"}`), none: true},
		{scheme: "slack", req: post(`{"type":"url_verification","challenge":"x","pad":"` + strings.Repeat("x", 1<<14) + `"}`), none: true},
		{scheme: "dropbox", req: get("GET", url.Values{"challenge": {"abc123"}}), body: "abc123", mime: "text/plain"},
		{scheme: "dropbox", req: get("GET", url.Values{"challenge": {"a", "b"}}), none: true},
		{scheme: "dropbox", req: get("GET", url.Values{"challenge": {"<script>alert(1)</script>"}}), body: "<script>alert(1)</script>", mime: "text/plain"},
		{scheme: "dropbox", req: get("GET", url.Values{"challenge": {strings.Repeat("x", 3000)}}), code: hookverify.CodeRequest},
		{scheme: "dropbox", req: get("GET", url.Values{"challenge": {"a\r\nSet-Cookie: b"}}), code: hookverify.CodeRequest},
		{scheme: "dropbox", req: get("GET", nil), none: true},
		{scheme: "dropbox", req: post(`{}`), none: true},
		{scheme: "meta", settings: map[string]string{"verifyToken": "my-verify-token"}, req: get("GET", url.Values{"hub.mode": {"subscribe"}, "hub.verify_token": {"my-verify-token"}, "hub.challenge": {"1158201444"}}), body: "1158201444", mime: "text/plain"},
		{scheme: "meta", settings: map[string]string{"verifyToken": "my-verify-token"}, req: get("GET", url.Values{"hub.mode": {"subscribe"}, "hub.verify_token": {"another"}, "hub.challenge": {"1"}}), code: hookverify.CodeSignatureMismatch},
		{scheme: "meta", req: get("GET", url.Values{"hub.mode": {"subscribe"}, "hub.verify_token": {""}, "hub.challenge": {"1"}}), code: hookverify.CodeSignatureMismatch},
		{scheme: "meta", req: get("GET", url.Values{"hub.mode": {"subscribe"}, "hub.verify_token": {"${setting:verifyToken}"}, "hub.challenge": {"1"}}), code: hookverify.CodeSignatureMismatch},
		{scheme: "zoom", req: post(zoomAsks, zoomSigned...), body: `{"encryptedToken":"` + hex.EncodeToString(hmac256(secretA, "qgg8vlvZRS6UYooatFL8Aw")) + `","plainToken":"qgg8vlvZRS6UYooatFL8Aw"}`, mime: "application/json"},
		{scheme: "zoom", req: post(zoomAsks), code: hookverify.CodeSignatureMissing},
		{scheme: "twitch", req: post(twitchAsks, "Twitch-Eventsub-Message-Type", "webhook_callback_verification", "Twitch-Eventsub-Message-Id", "m1", "Twitch-Eventsub-Message-Timestamp", "2023-11-14T22:13:20Z",
			"Twitch-Eventsub-Message-Signature", "sha256="+hex.EncodeToString(hmac256(secretA, "m12023-11-14T22:13:20Z"+twitchAsks))), body: "pogchamp-kappa", mime: "text/plain"},
		{scheme: "microsoft-graph", req: get("POST", url.Values{"validationToken": {"Validation: Testing client application reachability"}}), body: "Validation: Testing client application reachability", mime: "text/plain"},
		{scheme: "okta", req: get("GET", nil, "X-Okta-Verification-Challenge", `a"b`), body: `{"verification":"a\"b"}`, mime: "application/json"},
		{scheme: "monday", req: post(`{"challenge":"3eZ"}`), body: `{"challenge":"3eZ"}`, mime: "application/json"},
		{scheme: "x", req: get("GET", url.Values{"crc_token": {"MTIzNDU2"}}), body: `{"response_token":"sha256=` + crc + `"}`, mime: "application/json"},
		{scheme: "x", req: get("GET", url.Values{"crc_token": {`{"for_user_id":"1"}`}}), code: hookverify.CodeRequest},
		{scheme: "linkedin", req: get("GET", url.Values{"challengeCode": {"hmacsha256={}"}}), code: hookverify.CodeRequest},
		{scheme: "braintree", settings: map[string]string{"publicKey": "pk_1"}, req: get("GET", url.Values{"bt_challenge": {"PHNvbWU+"}}), code: hookverify.CodeRequest},
		{scheme: "trello", req: get("HEAD", nil)},
		{scheme: "mailchimp", req: get("GET", nil)},
		{scheme: "trello", req: get("GET", nil), none: true},
		{scheme: "woocommerce", req: post("webhook_id=17", "Content-Type", "application/x-www-form-urlencoded")},
		{scheme: "github", req: get("GET", nil), none: true},
	} {
		s := scheme(t, c.scheme, c.settings)
		keys := []hookverify.Key{mustKey(t, s, "k", secretA)}
		for range 2 {
			answer, err := hookverify.Handshake(s, keys, c.req, stamped())
			switch {
			case code(err) != c.code || (answer == nil) != (c.none || c.code != ""):
				t.Errorf("%s %s: %+v, %v, want %q", c.scheme, c.req.URL, answer, err, c.code)
			case answer != nil && (string(answer.Body) != c.body || answer.Status != http.StatusOK || !answer.Store.Empty() || answer.Confirm != ""):
				t.Errorf("%s: %s", c.scheme, answer.Body)
			case answer != nil && c.mime != "" && (answer.Header["Content-Type"] != c.mime+"; charset=utf-8" || answer.Header["X-Content-Type-Options"] != "nosniff"):
				t.Errorf("%s: %v", c.scheme, answer.Header)
			}
		}
	}
}

func TestEBayChallenge(t *testing.T) {
	req := get("GET", url.Values{"challenge_code": {"a8628072-3d33-45ee-9004-bee86830a22d"}})
	answer, err := hookverify.Handshake(scheme(t, "ebay", map[string]string{"verificationToken": "71745723-d031-455c-bfa5-f90d11b4f20a"}), nil, req, stamped())
	sum := sha256.Sum256([]byte("a8628072-3d33-45ee-9004-bee86830a22d" + "71745723-d031-455c-bfa5-f90d11b4f20a" + "https://example.com/hooks/1"))
	if err != nil || answer == nil || string(answer.Body) != `{"challengeResponse":"`+hex.EncodeToString(sum[:])+`"}` {
		t.Fatalf("%+v %v", answer, err)
	}
	if answer, err := hookverify.Handshake(scheme(t, "ebay", nil), nil, req, stamped()); answer != nil || err != nil {
		t.Errorf("without a token: %+v %v", answer, err)
	}
}

// A handshake that hands over the secret is one only while there is none: a stranger
// cannot put another in its place.
func TestHandedOverSecrets(t *testing.T) {
	for key, req := range map[string]*hookverify.Request{
		"asana":  post("{}", "X-Hook-Secret", secretB),
		"clio":   post("{}", "X-Hook-Secret", secretB),
		"notion": post(`{"verification_token":"` + secretB + `"}`),
		"gusto":  post(`{"verification_token":"` + secretB + `"}`),
	} {
		s := scheme(t, key, nil)
		answer, err := hookverify.Handshake(s, nil, req, stamped())
		if err != nil || answer == nil {
			t.Fatalf("%s: %+v %v", key, answer, err)
		}
		answer.Store.Use(func(b []byte) {
			if string(b) != secretB {
				t.Errorf("%s stores another value", key)
			}
		})
		if echoed, must := answer.Header["X-Hook-Secret"], strings.HasPrefix(key, "a") || key == "clio"; must != (echoed == secretB) {
			t.Errorf("%s: %v", key, answer.Header)
		}
		if answer, err := hookverify.Handshake(s, []hookverify.Key{mustKey(t, s, "k", secretA)}, req, stamped()); answer != nil || err != nil {
			t.Errorf("%s with a key: %+v %v", key, answer, err)
		}
	}
	s := scheme(t, "asana", nil)
	for _, bad := range []string{"short", "        ", "changeme", strings.Repeat("x", 5000), strings.Repeat("ab\n", 20)} {
		if answer, err := hookverify.Handshake(s, nil, post("{}", "X-Hook-Secret", bad), stamped()); err == nil {
			t.Errorf("%.20q: %+v", bad, answer)
		}
	}
}
