package hookverify_test

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strings"
	"testing"

	"claviger/internal/hookverify"
)

// The schemes that have no vector, recomputed from the vendors' words.
func TestSchemesWithoutVectors(t *testing.T) {
	const body = `{"token":"first-signing-secret-0123456789","passcode":"first-signing-secret-0123456789","event":"e"}`
	sha := sha1.Sum([]byte(secretA))
	btKey := string(sha[:])
	payload := "PHhtbD4="
	v2 := sha256.Sum256([]byte(secretA + "POSThttps://example.com/hooks/1" + body))
	contentful := "POST\n/hooks/1?a=%20b\nx-contentful-signed-headers:X-Contentful-Signed-Headers,x-contentful-timestamp;x-contentful-timestamp:1700000000000\n" + body
	contentful = strings.Replace(contentful, "x-contentful-signed-headers:X-Contentful-Signed-Headers,x-contentful-timestamp", "x-contentful-signed-headers:x-contentful-signed-headers,x-contentful-timestamp", 1)
	form := url.Values{"bt_payload": {payload}, "bt_signature": {"other|00&pk_1|" + hex.EncodeToString(hmacSHA1(btKey, payload))}}.Encode()
	for _, c := range []struct {
		scheme   string
		settings map[string]string
		req      *hookverify.Request
		query    string
	}{
		{"gitlab", nil, post(body, "X-Gitlab-Token", secretA), ""},
		{"aircall", nil, post(body), ""},
		{"figma", nil, post(body), ""},
		{"telegram", nil, post(body, "X-Telegram-Bot-Api-Secret-Token", secretA), ""},
		{"google-push", nil, post("", "X-Goog-Channel-Token", secretA, "X-Goog-Message-Number", "1"), ""},
		{"microsoft-graph", nil, post(`{"value":[{"clientState":"` + secretA + `"},{"clientState":"` + secretA + `"}]}`), ""},
		{"datadog", map[string]string{"headerName": "X-My-Header"}, post(body, "X-My-Header", secretA), ""},
		{"pipedrive", nil, post(body, "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("user:"+secretA))), ""},
		{"braintree", map[string]string{"publicKey": "pk_1"}, post(form, "Content-Type", "application/x-www-form-urlencoded"), ""},
		{"hubspot-v2", nil, post(body, "X-HubSpot-Signature", hex.EncodeToString(v2[:]), "X-HubSpot-Signature-Version", "v2"), ""},
		{"contentful", nil, post(body, "x-contentful-signed-headers", "x-contentful-signed-headers,x-contentful-timestamp", "x-contentful-timestamp", "1700000000000", "x-contentful-signature", hex.EncodeToString(hmac256(secretA, contentful))), "?a=%20b"},
		{"buildkite-token", nil, post(body, "X-Buildkite-Token", secretA), ""},
		{"grafana-plain", nil, post(body, "X-Grafana-Alerting-Signature", hex.EncodeToString(hmac256(secretA, body))), ""},
		{"polar", nil, post(body, "webhook-id", "m1", "webhook-timestamp", "1700000000", "webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(hmac256(secretA, "m1.1700000000."+body))), ""},
	} {
		s := scheme(t, c.scheme, c.settings)
		secret := secretA
		if s.Kind == hookverify.KindBasic {
			secret = "user:" + secretA
		}
		c.req.URL += c.query
		keys := []hookverify.Key{mustKey(t, s, "k", secret)}
		first, err := hookverify.Verify(s, keys, c.req, stamped())
		if _, again := hookverify.Verify(s, keys, c.req, stamped()); err != nil || again != nil || len(first.ReplayKey) != 32 {
			t.Errorf("%s: %v, %v", c.scheme, err, again)
		}
		if _, err := hookverify.Verify(s, []hookverify.Key{mustKey(t, s, "k", strings.Replace(secret, "first", "other", 1))}, c.req, stamped()); code(err) != hookverify.CodeSignatureMismatch {
			t.Errorf("%s with another secret: %v", c.scheme, err)
		}
	}
	graph := scheme(t, "microsoft-graph", nil)
	bad := post(`{"value":[{"clientState":"` + secretA + `"},{"clientState":"another"}]}`)
	if _, err := hookverify.Verify(graph, []hookverify.Key{mustKey(t, graph, "k", secretA)}, bad, stamped()); code(err) != hookverify.CodeSignatureMismatch {
		t.Errorf("one of two notifications with another clientState: %v", err)
	}
}

// Headers that the delivery does not sign prove nothing, even if it says so.
func TestContentfulListsItself(t *testing.T) {
	s := scheme(t, "contentful", nil)
	keys := []hookverify.Key{mustKey(t, s, "k", secretA)}
	for _, list := range []string{"x-contentful-timestamp", "x-contentful-signed-headers", "", "x-contentful-signed-headers,x-contentful-timestamp,x-missing"} {
		signed := "POST\n/hooks/1\nx-contentful-signed-headers:" + list + ";x-contentful-timestamp:1700000000000\n{}"
		req := post("{}", "x-contentful-signed-headers", list, "x-contentful-timestamp", "1700000000000", "x-contentful-signature", hex.EncodeToString(hmac256(secretA, signed)))
		if _, err := hookverify.Verify(s, keys, req, stamped()); code(err) != hookverify.CodeRequest {
			t.Errorf("%q: %v", list, err)
		}
	}
}

func TestReplayKeys(t *testing.T) {
	const body = `{"id":"evt_1","event":"test"}`
	github := scheme(t, "github", nil)
	deliver := func(s *hookverify.Scheme, req *hookverify.Request) hookverify.Verdict {
		return must[hookverify.Verdict](t)(hookverify.Verify(s, []hookverify.Key{mustKey(t, s, "k", secretA)}, req, stamped()))
	}
	sig := "sha256=" + hex.EncodeToString(hmac256(secretA, body))
	one := deliver(github, post(body, "X-Hub-Signature-256", sig, "X-GitHub-Delivery", "1"))
	two := deliver(github, post(body, "X-Hub-Signature-256", sig, "X-GitHub-Delivery", "2", "X-GitHub-Event", "push"))
	if string(one.ReplayKey) != string(two.ReplayKey) || one.DeliverySigned || one.DeliveryID == two.DeliveryID {
		t.Error("an id that is not signed makes a copy a new delivery")
	}
	push := scheme(t, "google-push", nil)
	one = deliver(push, post("", "X-Goog-Channel-Token", secretA, "X-Goog-Message-Number", "1"))
	two = deliver(push, post("", "X-Goog-Channel-Token", secretA, "X-Goog-Message-Number", "2"))
	if string(one.ReplayKey) == string(two.ReplayKey) {
		t.Error("two messages without a body are one")
	}
	svix := scheme(t, "svix", nil)
	key := mustKey(t, svix, "k", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
	signed := base64.StdEncoding.EncodeToString(hmac256("0123456789abcdef0123456789abcdef", "msg_1.1700000000."+body))
	v := must[hookverify.Verdict](t)(hookverify.Verify(svix, []hookverify.Key{key}, post(body, "svix-id", "msg_1", "svix-timestamp", "1700000000", "svix-signature", "v1,"+signed), stamped()))
	if v.DeliveryID != "msg_1" || !v.DeliverySigned || !v.BodySigned {
		t.Errorf("%+v", v)
	}
	if other := deliver(scheme(t, "gitea", nil), post(body, "X-Gitea-Signature", sig[7:])); string(other.ReplayKey) == string(one.ReplayKey) {
		t.Error("deliveries of two schemes share a replay key")
	}
}
