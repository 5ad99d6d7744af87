package hookverify_test

import (
	"encoding/base64"
	"encoding/hex"
	"maps"
	"strings"
	"testing"

	"claviger"
	"claviger/internal/hookverify"
)

func TestSlots(t *testing.T) {
	const body = `{"event":"test"}`
	hex256, hex1 := hex.EncodeToString(hmac256(secretA, body)), hex.EncodeToString(hmacSHA1(secretA, body))
	stampedHex := hex.EncodeToString(hmac256(secretA, "1700000000."+body))
	type variables = map[string]string
	for _, c := range []struct {
		method    string
		variables variables
		scheme    string
		headers   []string
		query     string
	}{
		{"apikey", variables{"headerName": "X-Hub-Signature"}, "hub-sha1", []string{"X-Hub-Signature", "sha1=" + hex1}, ""},
		{"apikey", variables{"headerName": "x-hub-signature-256"}, "hub-sha256", []string{"X-Hub-Signature-256", "sha256=" + hex256}, ""},
		{"apikey", variables{"headerName": "X-Shopify-Hmac-Sha256"}, "shopify", []string{"X-Shopify-Hmac-Sha256", base64.StdEncoding.EncodeToString(hmac256(secretA, body))}, ""},
		{"apikey", variables{"headerName": "Stripe-Signature"}, "stripe", []string{"Stripe-Signature", "t=1700000000,v1=" + stampedHex}, ""},
		{"apikey", variables{"headerName": "X-Hub-Signature", "scheme": "bitbucket"}, "bitbucket", []string{"X-Hub-Signature", "sha256=" + hex256}, ""},
		{"apikey", variables{"headerName": "X-Webhook-Secret", "baseUrl": "https://example.com"}, "custom", []string{"X-Webhook-Secret", secretA}, ""},
		{"apikey", variables{"headerName": "X-Gitlab-Token"}, "custom", []string{"X-Gitlab-Token", secretA}, ""},
		{"apikey", variables{"headerName": "Authorization", "prefix": "Token "}, "custom", []string{"Authorization", "Token " + secretA}, ""},
		{"bearerToken", nil, "custom", []string{"Authorization", "Bearer " + secretA}, ""},
		{"queryParam", variables{"paramName": "token"}, "custom", nil, "?token=" + secretA},
		{"hmac", variables{"signatureHeader": "X-Sig"}, "custom", []string{"X-Sig", hex256}, ""},
		{"hmac", variables{"signatureHeader": "X-Sig", "algorithm": "HMAC-SHA1", "signaturePrefix": "sha1="}, "custom", []string{"X-Sig", "sha1=" + hex1}, ""},
		{"hmac", variables{"signatureHeader": "X-Sig", "algorithm": "sha256", "timestampHeader": "X-Time"}, "custom", []string{"X-Sig", stampedHex, "X-Time", "1700000000"}, ""},
		{"hmac", variables{"signatureHeader": "X-Sig", "timestampHeader": "X-Time", "signedString": "v0:${timestamp}:${body}", "encoding": "base64", "tolerance": "60"}, "custom", []string{"X-Sig", base64.StdEncoding.EncodeToString(hmac256(secretA, "v0:1700000000:"+body)), "X-Time", "1700000000"}, ""},
		{"hmac", variables{"signatureHeader": "X-Hub-Signature-256", "algorithm": "HMAC_SHA256"}, "hub-sha256", []string{"X-Hub-Signature-256", "sha256=" + hex256}, ""},
		{"hmac", variables{"signatureHeader": "X-Hub-Signature", "algorithm": "sha256"}, "custom", []string{"X-Hub-Signature", hex256}, ""},
		{"hmac", variables{"scheme": "github", "signatureHeader": "X-Sig"}, "github", []string{"X-Hub-Signature-256", "sha256=" + hex256}, ""},
		{"none", variables{"scheme": "datadog", "headerName": "X-Mine"}, "datadog", []string{"X-Mine", secretA}, ""},
	} {
		given := maps.Clone(c.variables)
		s, err := builtin(t).For(c.method, c.variables)
		if err != nil || s.Key != c.scheme || !maps.Equal(given, c.variables) {
			t.Errorf("%s %v: %+v %v", c.method, c.variables, s, err)
			continue
		}
		req := post(body, c.headers...)
		req.URL += c.query
		if v, err := hookverify.Verify(s, []hookverify.Key{mustKey(t, s, "k", secretA)}, req, stamped()); err != nil || v.KeyID != "k" {
			t.Errorf("%s %v: %v", c.method, c.variables, err)
		}
		if _, err := hookverify.Verify(s, []hookverify.Key{mustKey(t, s, "k", secretB)}, req, stamped()); err == nil {
			t.Errorf("%s %v: another secret verifies", c.method, c.variables)
		}
	}
}

func TestSlots_Basic(t *testing.T) {
	s := must[*hookverify.Scheme](t)(builtin(t).For("basic", nil))
	key := must[hookverify.Key](t)(s.NewBasicKey("k", claviger.NewSecretString("hook"), claviger.NewSecretString("pass:word")))
	basic := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	next := must[hookverify.Key](t)(s.NewBasicKey("next", claviger.NewSecretString("hook"), claviger.NewSecretString("another-password")))
	if v, err := hookverify.Verify(s, []hookverify.Key{next, key}, post("{}", "Authorization", basic("hook:pass:word")), stamped()); err != nil || v.KeyID != "k" {
		t.Errorf("the second of two keys: %v", err)
	}
	for value, want := range map[string]string{
		basic("hook:pass:word"): "", "basic " + basic("hook:pass:word")[6:]: "",
		basic("hook:pass"): hookverify.CodeSignatureMismatch, basic("hook:pass:word:more"): hookverify.CodeSignatureMismatch, basic(":"): hookverify.CodeSignatureMismatch,
		"Bearer hook:pass:word": hookverify.CodeSignatureMismatch, "Basic": hookverify.CodeSignatureMismatch, "Basic !!": hookverify.CodeSignatureMismatch,
	} {
		if _, err := hookverify.Verify(s, []hookverify.Key{key}, post("{}", "Authorization", value), stamped()); code(err) != want {
			t.Errorf("%s: %v", value, err)
		}
	}
	for _, bad := range [][2]string{{"", "password1"}, {"a:b", "long-password"}, {"hook", ""}, {"hook", "   "}, {"hook", "changeme"}, {"", ""}} {
		if _, err := s.NewBasicKey("k", claviger.NewSecretString(bad[0]), claviger.NewSecretString(bad[1])); code(err) != hookverify.CodeNotConfigured {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestSlots_Refused(t *testing.T) {
	for _, c := range []struct {
		method    string
		variables map[string]string
		param     string
	}{
		{"none", nil, "method"},
		{"", nil, "method"},
		{"oauth2", nil, "method"},
		{"aad", nil, "method"},
		{"apikey", nil, "variables.headerName"},
		{"apikey", map[string]string{"headerName": "X Y"}, "variables.headerName"},
		{"apikey", map[string]string{"headerName": "X-Signature"}, "variables.scheme"},
		{"queryParam", nil, "variables.paramName"},
		{"hmac", nil, "variables.signatureHeader"},
		{"hmac", map[string]string{"signatureHeader": "X-Sig", "algorithm": "md5"}, "variables"},
		{"hmac", map[string]string{"signatureHeader": "X-Sig", "signedString": "${body"}, "variables"},
		{"hmac", map[string]string{"signatureHeader": "X-Sig", "signedString": "${timestamp}.${body}"}, "variables"},
		{"hmac", map[string]string{"signatureHeader": "X-Sig", "timestampHeader": "X-Time", "signedString": "${body}"}, "variables"},
		{"hmac", map[string]string{"signatureHeader": "X-Sig", "encoding": "rot13"}, "variables"},
		{"hmac", map[string]string{"signatureHeader": "X-Sig", "signedString": "always the same"}, "variables"},
		{"hmac", map[string]string{"signatureHeader": "X-Sig", "signedString": "${json:id}"}, "variables.signedString"},
		{"apikey", map[string]string{"scheme": "nobody"}, "variables.scheme"},
		{"apikey", map[string]string{"scheme": "paypal"}, "variables.webhookId"},
		{"apikey", map[string]string{"headerName": "Paypal-Transmission-Sig"}, "variables.webhookId"},
		{"apikey", map[string]string{"scheme": "datadog", "headerName": "${body}"}, "variables.headerName"},
		{"apikey", map[string]string{"scheme": "datadog", "headerName": strings.Repeat("x", 501)}, "variables.headerName"},
	} {
		s, err := builtin(t).For(c.method, c.variables)
		if !claviger.IsKind(err, claviger.KindInvalid) || claviger.AsError(err).Param != c.param {
			t.Errorf("%s %v: %+v %v", c.method, c.variables, s, err)
		}
	}
	s := must[*hookverify.Scheme](t)(builtin(t).For("certificate", nil))
	if _, err := hookverify.Verify(s, nil, post("{}"), stamped()); s.Verifiable() || code(err) != hookverify.CodeNotVerifiable {
		t.Errorf("%v", err)
	}
}

// A value of a setting stays a value, whatever it holds.
func TestSettingsAreNoText(t *testing.T) {
	for _, value := range []string{`"}],"kind":"token","x":"`, `a"b\c`, "<&>", "$", "a}b", "ünï"} {
		s := must[*hookverify.Scheme](t)(builtin(t).For("", map[string]string{"scheme": "braintree", "publicKey": value}))
		body := "bt_payload=abc&bt_signature="
		if s.Kind != hookverify.KindHMAC || s.Key != "braintree" {
			t.Fatalf("%q made %+v", value, s)
		}
		if _, err := hookverify.Verify(s, []hookverify.Key{mustKey(t, s, "k", secretA)}, post(body, "Content-Type", "application/x-www-form-urlencoded"), stamped()); code(err) != hookverify.CodeSignatureMissing {
			t.Errorf("%q: %v", value, err)
		}
	}
}
