package hookverify_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"claviger"
	"claviger/internal/hookverify"
)

func TestExplain(t *testing.T) {
	const body = `{"event":"test","list":[1,2],"text":"a, b: \"c\""}`
	hexOf := func(text string) string { return "sha256=" + hex.EncodeToString(hmac256(secretA, text)) }
	const name = "X-Hub-Signature-256"
	key32 := "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	svix := func(key string) []string {
		return []string{"svix-id", "m", "svix-timestamp", "1700000000", "svix-signature", "v1," + base64.StdEncoding.EncodeToString(hmac256(key, "m.1700000000."+body))}
	}
	for _, c := range []struct {
		scheme string
		secret string
		req    *hookverify.Request
		cause  string
	}{
		{"github", secretA, post(body, name, hexOf(body)), ""},
		{"github", secretA, post(body+"\n", name, hexOf(body)), "newline_added"},
		{"github", secretA, post(body, name, hexOf(body+"\n")), "newline_lost"},
		{"github", secretA, post("a\r\nb", name, hexOf("a\nb")), "line_ends"},
		{"github", secretA, post("\xef\xbb\xbf"+body, name, hexOf(body)), "byte_order_mark"},
		{"github", secretA, post(`{"event": "test", "list": [1, 2], "text": "a, b: \"c\""}`, name, hexOf(body)), "reserialised"},
		{"github", secretA, post(body, name, hexOf(`{"event": "test", "list": [1, 2], "text": "a, b: \"c\""}`)), "reserialised"},
		{"github", secretA, post(`{"b":1,"a":2}`, name, hexOf(`{"a":2,"b":1}`)), "reserialised"},
		{"github", secretA, post(body, name, hexOf("{\n  \"event\": \"test\",\n  \"list\": [\n    1,\n    2\n  ],\n  \"text\": \"a, b: \\\"c\\\"\"\n}")), "reserialised"},
		{"github", secretA + "\n", post(body, name, hexOf(body)), "secret_space"},
		{"github", key32, post(body, name, "sha256="+hex.EncodeToString(hmac256("0123456789abcdef0123456789abcdef", body))), "secret_base64"},
		{"github", hex.EncodeToString([]byte(secretA)), post(body, name, hexOf(body)), "secret_hex"},
		{"svix", "whsec_" + key32, post(body, svix(key32)...), "secret_prefix"},
		{"svix", "whsec_" + key32, post(body, svix("whsec_"+key32)...), "secret_text"},
		{"github", secretA, post(body, name, "sha256="+hex.EncodeToString(hmacSHA1(secretA, body))), "algorithm"},
		{"github", secretA, post(body, name, "sha256="+base64.StdEncoding.EncodeToString(hmac256(secretA, body))), "encoding"},
		{"github", secretA, post(body, name, hexOf(body)[7:]), "prefix"},
		{"github", secretA, post(body, "X-Signature-256", hexOf(body)), "header"},
		{"square", secretA, post(body, "x-square-hmacsha256-signature", base64.StdEncoding.EncodeToString(hmac256(secretA, "http://example.com/hooks/1/"+body))), "url"},
		{"slack", secretA, post(body, "X-Slack-Request-Timestamp", "1700000000", "X-Slack-Signature", "v0="+hex.EncodeToString(hmac256(secretA, body))), "signed_text"},
		{"slack", secretA, post(body, "X-Slack-Request-Timestamp", "1700000000000", "X-Slack-Signature", "v0="+hex.EncodeToString(hmac256(secretA, "v0:1700000000000:"+body))), "timestamp_unit"},
		{"gitlab", secretA, post(body, "X-Gitlab-Token", "Bearer "+secretA), "prefix"},
		{"gitlab", secretA, post(body, "Authorization", secretA), "header"},
	} {
		e := hookverify.Explain(scheme(t, c.scheme, nil), claviger.NewSecretString(c.secret), c.req, stamped())
		var codes []string
		for _, cause := range e.Causes {
			codes = append(codes, cause.Code)
		}
		if e.Accepted != (c.cause == "") || c.cause != "" && !slices.Contains(codes, c.cause) || len(codes) > 1 {
			t.Errorf("%s, %s: %+v", c.scheme, c.cause, e)
		}
		said := fmt.Sprintf("%+v", e)
		for _, secret := range []string{secretA, strings.TrimSpace(c.secret), hexOf(body)[7:], hex.EncodeToString(hmacSHA1(secretA, body))} {
			if strings.Contains(said, secret) {
				t.Errorf("%s, %s: shows a secret or a whole signature: %s", c.scheme, c.cause, said)
			}
		}
	}
}

func TestExplain_WhatDiffers(t *testing.T) {
	github := scheme(t, "github", nil)
	right := hex.EncodeToString(hmac256(secretA, "line\n\"quoted\""))
	wrong := right[:10] + strings.Repeat("0", 54)
	e := hookverify.Explain(github, claviger.NewSecretString(secretA), post("line\n\"quoted\"", "X-Hub-Signature-256", "sha256="+wrong), stamped())
	if e.DiffersAt < 10 || e.DiffersAt > 12 || e.Expected != right[:8] || !slices.Equal(e.Found, []string{right[:8]}) || e.SignedText != `"line\n\"quoted\""` || e.SignedBytes != 13 {
		t.Errorf("%+v", e)
	}
	if len(e.Tried) < 8 || len(e.Causes) != 0 || e.Code != hookverify.CodeSignatureMismatch || e.Message == "" {
		t.Errorf("%+v", e)
	}
	e = hookverify.Explain(github, claviger.NewSecretString(secretA), post(strings.Repeat("x", 5000), "X-Hub-Signature-256", "sha256="+wrong), stamped())
	if len(e.SignedText) != 2000 || e.SignedBytes != 5000 {
		t.Errorf("%d of %d bytes are shown", len(e.SignedText), e.SignedBytes)
	}
	e = hookverify.Explain(scheme(t, "sellsy", nil), claviger.NewSecretString(secretA), post("{}", "X-Webhook-Signature", wrong[:40]), stamped())
	if e.SignedText != `"`+claviger.Redacted+`{}"` {
		t.Errorf("%+v", e)
	}
	for _, s := range builtin(t).Schemes() { // none breaks on an empty request, or shows what came
		e := hookverify.Explain(s, claviger.NewSecretString(secretA), post(""), stamped())
		if e.Accepted || e.Code == "" {
			t.Errorf("%s: %+v", s.Key, e)
		}
	}
}
