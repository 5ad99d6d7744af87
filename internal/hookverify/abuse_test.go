package hookverify_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"claviger"
	"claviger/internal/hookverify"
)

const (
	secretA = "first-signing-secret-0123456789"
	secretB = "second-signing-secret-987654321"
)

func hmac256(secret, text string) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

func hmacSHA1(secret, text string) []byte {
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// post makes a delivery from header names and values.
func post(body string, headers ...string) *hookverify.Request {
	req := &hookverify.Request{Method: http.MethodPost, URL: "https://example.com/hooks/1", Header: http.Header{}, Body: []byte(body)}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	return req
}

func TestAbuse_151_BadSignatures(t *testing.T) {
	const body = `{"event":"test"}`
	github := scheme(t, "github", nil)
	keys := []hookverify.Key{mustKey(t, github, "k", secretA)}
	good := hex.EncodeToString(hmac256(secretA, body))
	b64 := base64.StdEncoding.EncodeToString(hmac256(secretA, body))
	const name = "X-Hub-Signature-256"
	for what, c := range map[string]struct {
		headers []string
		code    string
	}{
		"right":              {[]string{name, "sha256=" + good}, ""},
		"missing":            {nil, hookverify.CodeSignatureMissing},
		"empty":              {[]string{name, ""}, hookverify.CodeSignatureMissing},
		"prefix alone":       {[]string{name, "sha256="}, hookverify.CodeSignatureMalformed},
		"no prefix":          {[]string{name, good}, hookverify.CodeSignatureMalformed},
		"wrong":              {[]string{name, "sha256=" + strings.Repeat("0", 64)}, hookverify.CodeSignatureMismatch},
		"of another secret":  {[]string{name, "sha256=" + hex.EncodeToString(hmac256(secretB, body))}, hookverify.CodeSignatureMismatch},
		"truncated":          {[]string{name, "sha256=" + good[:62]}, hookverify.CodeSignatureMalformed},
		"too long":           {[]string{name, "sha256=" + good + "00"}, hookverify.CodeSignatureMalformed},
		"upper-case hex":     {[]string{name, "sha256=" + strings.ToUpper(good)}, hookverify.CodeSignatureMalformed},
		"upper-case prefix":  {[]string{name, "SHA256=" + good}, hookverify.CodeSignatureMalformed},
		"base64":             {[]string{name, "sha256=" + b64}, hookverify.CodeSignatureMalformed},
		"space before":       {[]string{name, " sha256=" + good + " "}, hookverify.CodeSignatureMalformed},
		"twice, the same":    {[]string{name, "sha256=" + good, name, "sha256=" + good}, hookverify.CodeSignatureMalformed},
		"twice, wrong first": {[]string{name, "sha256=" + strings.Repeat("0", 64), name, "sha256=" + good}, hookverify.CodeSignatureMalformed},
		"SHA-1 in its place": {[]string{name, "sha1=" + hex.EncodeToString(hmacSHA1(secretA, body))}, hookverify.CodeSignatureMalformed},
		"SHA-1 bytes":        {[]string{name, "sha256=" + hex.EncodeToString(hmacSHA1(secretA, body))}, hookverify.CodeSignatureMalformed},
		"SHA-1 header alone": {[]string{"X-Hub-Signature", "sha1=" + hex.EncodeToString(hmacSHA1(secretA, body))}, hookverify.CodeSignatureMissing},
	} {
		t.Run(what, func(t *testing.T) {
			if _, err := hookverify.Verify(github, keys, post(body, c.headers...), stamped()); code(err) != c.code {
				t.Errorf("%v, want %q", err, c.code)
			} else if err != nil && !claviger.IsKind(err, claviger.KindUnauthenticated) {
				t.Errorf("%v is no 401", err)
			}
		})
	}

	t.Run("v0 alone", func(t *testing.T) {
		stripe := scheme(t, "stripe", nil)
		keys := []hookverify.Key{mustKey(t, stripe, "k", secretA)}
		sum := hex.EncodeToString(hmac256(secretA, "1700000000."+body))
		for header, want := range map[string]string{
			"t=1700000000,v1=" + sum:                                    "",
			"t=1700000000,v0=" + sum:                                    hookverify.CodeSignatureMalformed,
			"t=1700000000,v0=" + strings.Repeat("0", 64) + ",v1=" + sum: "",
			"v1=" + sum:                                     hookverify.CodeTimestamp,
			"t=1700000000,t=1700000001,v1=" + sum:           hookverify.CodeTimestamp,
			"t=1700000000" + strings.Repeat(",v1="+sum, 21): hookverify.CodeSignatureMalformed,
		} {
			if _, err := hookverify.Verify(stripe, keys, post(body, "Stripe-Signature", header), stamped()); code(err) != want {
				t.Errorf("%.40s: %v, want %q", header, err, want)
			}
		}
	})
	t.Run("base64 has one text", func(t *testing.T) {
		shopify := scheme(t, "shopify", nil)
		keys := []hookverify.Key{mustKey(t, shopify, "k", secretA)}
		// The last character of 32 bytes in base64 carries two unused bits.
		loose := b64[:42] + string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", b64[42])|1]) + "="
		for text, want := range map[string]string{
			b64: "", loose: hookverify.CodeSignatureMalformed, strings.TrimRight(b64, "="): hookverify.CodeSignatureMalformed,
			b64 + "=": hookverify.CodeSignatureMalformed, b64[:20] + "\n" + b64[20:]: hookverify.CodeSignatureMalformed,
		} {
			if _, err := hookverify.Verify(shopify, keys, post(body, "X-Shopify-Hmac-Sha256", text), stamped()); code(err) != want {
				t.Errorf("%q: %v, want %q", text, err, want)
			}
		}
	})
}

func TestAbuse_152_NoKeyWithoutASecret(t *testing.T) {
	for _, s := range builtin(t).Schemes() {
		for _, bad := range []string{
			"", " ", "\t\n", "        ", "1234567", "00000000", "aaaaaaaaaaaa", "changeme", "ChangeMe", "password", "your-webhook-secret", "YOUR_SECRET_HERE",
			"kv://example/webhookSecret", "${SECRET_VALUE}", "{{ webhook_secret }}", "<webhook secret>", "***REDACTED***", "[redacted]",
			"a secret with a line break\n", " a secret with a space", "a secret with a \x00 in it", "not utf-8 \xff\xfe\xfd",
		} {
			k, err := s.NewKey("k", claviger.NewSecretString(bad))
			if code(err) != hookverify.CodeNotConfigured || !reflect.DeepEqual(k, hookverify.Key{}) {
				t.Fatalf("%s: %q made a key: %v", s.Key, bad, err)
			}
			if trimmed := strings.TrimSpace(bad); len(trimmed) > 3 && strings.Contains(claviger.AsError(err).Message, trimmed) {
				t.Fatalf("the message repeats the value: %v", err)
			}
		}
	}
	t.Run("the empty key verifies nothing", func(t *testing.T) {
		s, sig := scheme(t, "github", nil), hex.EncodeToString(hmac256("", "{}"))
		req := post("{}", "X-Hub-Signature-256", "sha256="+sig)
		for _, keys := range [][]hookverify.Key{nil, {}, {{}}, {{}, {}}} {
			if _, err := hookverify.Verify(s, keys, req, stamped()); code(err) != hookverify.CodeNotConfigured {
				t.Errorf("%v", err)
			}
		}
	})
	t.Run("nobody else can fill a key", func(t *testing.T) {
		for f := range reflect.TypeFor[hookverify.Key]().Fields() {
			if f.IsExported() {
				t.Errorf("Key.%s is exported", f.Name)
			}
		}
	})
	t.Run("a key of another scheme", func(t *testing.T) {
		gitea := mustKey(t, scheme(t, "gitea", nil), "k", secretA)
		req := post("{}", "X-Hub-Signature-256", "sha256="+hex.EncodeToString(hmac256(secretA, "{}")))
		if _, err := hookverify.Verify(scheme(t, "github", nil), []hookverify.Key{gitea}, req, stamped()); code(err) != hookverify.CodeNotConfigured {
			t.Errorf("%v", err)
		}
	})
	t.Run("too short after decoding", func(t *testing.T) {
		if _, err := scheme(t, "svix", nil).NewKey("k", claviger.NewSecretString("whsec_MTIzNDU2Nw==")); code(err) != hookverify.CodeNotConfigured {
			t.Errorf("%v", err)
		}
	})
	t.Run("a setting is missing", func(t *testing.T) {
		s, _ := builtin(t).Scheme("paypal")
		if _, err := hookverify.Verify(s, nil, post("{}"), stamped()); code(err) != hookverify.CodeNotConfigured {
			t.Errorf("%v", err)
		}
		if _, err := s.With(nil); !claviger.IsKind(err, claviger.KindInvalid) || claviger.AsError(err).Param != "variables.webhookId" {
			t.Errorf("%v", err)
		}
	})
}

func TestAbuse_154_TwoKeys(t *testing.T) {
	const body = `{"event":"test"}`
	sum := func(secret, text string) string { return hex.EncodeToString(hmac256(secret, text)) }
	stripe := scheme(t, "stripe", nil)
	before, after := mustKey(t, stripe, "before", secretA), mustKey(t, stripe, "after", secretB)
	a, b := sum(secretA, "1700000000."+body), sum(secretB, "1700000000."+body)
	var replay []byte
	for _, c := range []struct {
		what   string
		keys   []hookverify.Key
		header string
		want   string
	}{
		{"old only", []hookverify.Key{after, before}, "v1=" + a, "before"},
		{"new only", []hookverify.Key{after, before}, "v1=" + b, "after"},
		{"both listed", []hookverify.Key{after, before}, "v1=" + a + ",v1=" + b, "after"},
		{"both listed, the old key is gone", []hookverify.Key{after}, "v1=" + a + ",v1=" + b, "after"},
		{"both listed, the new key is not there yet", []hookverify.Key{before}, "v1=" + b + ",v1=" + a, "before"},
		{"old only, the old key is gone", []hookverify.Key{after}, "v1=" + a, ""},
	} {
		v, err := hookverify.Verify(stripe, c.keys, post(body, "Stripe-Signature", "t=1700000000,"+c.header), stamped())
		if v.KeyID != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v", c.what, v.KeyID, err)
		}
		if err == nil && replay != nil && string(v.ReplayKey) != string(replay) {
			t.Errorf("%s: a copy signed with the other key is another delivery", c.what)
		} else if err == nil {
			replay = v.ReplayKey
		}
	}
	many := make([]hookverify.Key, hookverify.MaxKeys+1)
	for i := range many {
		many[i] = before
	}
	if _, err := hookverify.Verify(stripe, many, post(body, "Stripe-Signature", "t=1700000000,v1="+a), stamped()); err == nil {
		t.Error("any number of keys is tried")
	}
}

func TestAbuse_155_Timestamps(t *testing.T) {
	const body = `{"event":"test"}`
	slack := scheme(t, "slack", nil)
	keys := []hookverify.Key{mustKey(t, slack, "k", secretA)}
	deliver := func(stamp string, now time.Time) string {
		_, err := hookverify.Verify(slack, keys, post(body, "X-Slack-Request-Timestamp", stamp, "X-Slack-Signature", "v0="+hex.EncodeToString(hmac256(secretA, "v0:"+stamp+":"+body))), now)
		return code(err)
	}
	for _, c := range []struct {
		off  time.Duration
		want string
	}{
		{0, ""},
		{300 * time.Second, ""},
		{-300 * time.Second, ""},
		{301 * time.Second, hookverify.CodeTimestampOutside},
		{-301 * time.Second, hookverify.CodeTimestampOutside},
	} {
		if got := deliver("1700000000", stamped().Add(c.off)); got != c.want {
			t.Errorf("%v from now: %q, want %q", c.off, got, c.want)
		}
	}
	for stamp, want := range map[string]string{
		"": hookverify.CodeTimestamp, "now": hookverify.CodeTimestamp, "-1700000000": hookverify.CodeTimestamp, "+1700000000": hookverify.CodeTimestamp,
		"1700000000.5": hookverify.CodeTimestamp, "1e9": hookverify.CodeTimestamp, " 1700000000": hookverify.CodeTimestamp, "0x6553f100": hookverify.CodeTimestamp,
		"1000000000000000000": hookverify.CodeTimestamp, "999999999999999": hookverify.CodeTimestamp, "1700000000000": hookverify.CodeTimestamp, "١٧٠٠٠٠٠٠٠٠": hookverify.CodeTimestamp,
		"170000000": hookverify.CodeTimestampOutside, "0": hookverify.CodeTimestampOutside,
	} {
		if got := deliver(stamp, stamped()); got != want && !(stamp == "1700000000000" && got == hookverify.CodeTimestampOutside) {
			t.Errorf("%q: %q, want %q", stamp, got, want)
		}
	}
	t.Run("missing, and there twice", func(t *testing.T) {
		sig := "v0=" + hex.EncodeToString(hmac256(secretA, "v0:1700000000:"+body))
		for _, req := range []*hookverify.Request{
			post(body, "X-Slack-Signature", sig),
			post(body, "X-Slack-Signature", sig, "X-Slack-Request-Timestamp", "1700000000", "X-Slack-Request-Timestamp", "1700000000"),
		} {
			if _, err := hookverify.Verify(slack, keys, req, stamped()); code(err) != hookverify.CodeTimestamp {
				t.Errorf("%v", err)
			}
		}
	})
	t.Run("no scheme is without a tolerance", func(t *testing.T) {
		for _, s := range builtin(t).Schemes() {
			if s.Timed() != (s.Tolerance() > 0) || s.Tolerance() > hookverify.MaxTolerance {
				t.Errorf("%s: %v", s.Key, s.Tolerance())
			}
		}
		for _, bad := range []string{"0", "-1", "0s", "3601", "1ns", "24h", "for ever"} {
			_, err := builtin(t).For("hmac", map[string]string{"signatureHeader": "X-Sig", "timestampHeader": "X-Time", "tolerance": bad})
			if !claviger.IsKind(err, claviger.KindInvalid) || claviger.AsError(err).Param != "variables.tolerance" {
				t.Errorf("tolerance %q: %v", bad, err)
			}
		}
	})
	t.Run("in the body", func(t *testing.T) {
		linear := scheme(t, "linear", nil)
		keys := []hookverify.Key{mustKey(t, linear, "k", secretA)}
		for body, want := range map[string]string{
			`{"webhookTimestamp":1700000000000}`:  "",
			`{"webhookTimestamp":1699999000000}`:  hookverify.CodeTimestampOutside,
			`{"webhookTimestamp":1.7e12}`:         hookverify.CodeTimestamp,
			`{"webhookTimestamp":-1700000000000}`: hookverify.CodeTimestamp,
			`{"webhookTimestamp":null}`:           hookverify.CodeTimestamp,
			`{}`:                                  hookverify.CodeTimestamp,
			`not JSON`:                            hookverify.CodeTimestamp,
			`{"webhookTimestamp":1600000000000,"webhookTimestamp":1700000000000}`: hookverify.CodeTimestamp,
		} {
			req := post(body, "Linear-Signature", hex.EncodeToString(hmac256(secretA, body)))
			if _, err := hookverify.Verify(linear, keys, req, stamped()); code(err) != want {
				t.Errorf("%s: %v, want %q", body, err, want)
			}
		}
	})
}

// Whatever the content type says, the bytes are verified first; a wrong signature is
// found before a body is read, and a right one does not make a bad body a good one.
func TestAbuse_158_VerifiedBeforeParsed(t *testing.T) {
	s := scheme(t, "shopify", nil)
	keys := []hookverify.Key{mustKey(t, s, "k", secretA)}
	for _, contentType := range []string{
		"", "application/json", "application/json; charset=utf-16", "text/plain", "text/xml", "application/x-www-form-urlencoded",
		"multipart/form-data; boundary=x", "multipart/form-data; boundary=\"\"", "multipart/form-data; boundary=" + strings.Repeat("x", 300), "; ;", "application/json, text/html",
	} {
		for _, body := range []string{"", "[]", `"text"`, "{", "{\"a\":1}", "--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"../../etc/x\"\r\n\r\nfile\r\n--x--", "\xff\xfe{\x00", "a=b&a=c;%zz"} {
			req := post(body, "X-Shopify-Hmac-Sha256", base64.StdEncoding.EncodeToString(hmac256(secretA, body)))
			if contentType != "" {
				req.Header.Set("Content-Type", contentType)
			}
			if _, err := hookverify.Verify(s, keys, req, stamped()); err != nil {
				t.Errorf("%q, %q: %v", contentType, body, err)
			}
			req.Body = append(req.Body, ' ')
			if _, err := hookverify.Verify(s, keys, req, stamped()); code(err) != hookverify.CodeSignatureMismatch {
				t.Errorf("%q, %q: %v", contentType, body, err)
			}
		}
	}
	t.Run("a form must say that it is one", func(t *testing.T) {
		s := scheme(t, "mandrill", nil)
		keys := []hookverify.Key{mustKey(t, s, "k", secretA)}
		req := post("a=b", "X-Mandrill-Signature", base64.StdEncoding.EncodeToString(hmacSHA1(secretA, "https://example.com/hooks/1ab")), "Content-Type", "application/json")
		if _, err := hookverify.Verify(s, keys, req, stamped()); code(err) != hookverify.CodeRequest {
			t.Errorf("%v", err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		if _, err := hookverify.Verify(s, keys, req, stamped()); err != nil {
			t.Error(err)
		}
	})
	t.Run("a second item is not covered", func(t *testing.T) {
		s := scheme(t, "adyen", nil)
		key := strings.Repeat("ab", 16)
		raw, _ := hex.DecodeString(key)
		item := func(extra string) string {
			sig := base64.StdEncoding.EncodeToString(hmac256(string(raw), "p1::acc:m1:1130:EUR:AUTHORISATION:true"))
			return fmt.Sprintf(`{"notificationItems":[{"NotificationRequestItem":{"pspReference":"p1","merchantAccountCode":"acc","merchantReference":"m1","amount":{"value":1130,"currency":"EUR"},"eventCode":"AUTHORISATION","success":"true","additionalData":{"hmacSignature":%q}}}%s]}`, sig, extra)
		}
		keys := []hookverify.Key{mustKey(t, s, "k", key)}
		v, err := hookverify.Verify(s, keys, post(item("")), stamped())
		if err != nil || v.DeliveryID != "p1" || !v.DeliverySigned || v.EventType != "AUTHORISATION" {
			t.Errorf("%+v %v", v, err)
		}
		if _, err := hookverify.Verify(s, keys, post(item(`,{"NotificationRequestItem":{"pspReference":"forged"}}`)), stamped()); code(err) != hookverify.CodeRequest {
			t.Errorf("two items: %v", err)
		}
	})
	t.Run("JSON with a key twice", func(t *testing.T) {
		s := scheme(t, "mailgun", nil)
		keys := []hookverify.Key{mustKey(t, s, "k", secretA)}
		sig := hex.EncodeToString(hmac256(secretA, "1700000000tok"))
		body := fmt.Sprintf(`{"signature":{"timestamp":"1700000000","token":"tok","signature":%q}%%s}`, sig)
		if _, err := hookverify.Verify(s, keys, post(fmt.Sprintf(body, "")), stamped()); err != nil {
			t.Error(err)
		}
		for _, more := range []string{`,"signature":{}`, `,"a":{"b":1,"b":2}`, "} {", `,"deep":` + strings.Repeat("[", 100) + strings.Repeat("]", 100)} {
			if _, err := hookverify.Verify(s, keys, post(fmt.Sprintf(body, more)), stamped()); err == nil {
				t.Errorf("accepted with %.20s", more)
			}
		}
	})
}

// A refusal says what is wrong and nothing of what came.
func TestRefusalsRepeatNothing(t *testing.T) {
	const canary = "canary-8f3a2c"
	for _, s := range builtin(t).Schemes() {
		req := post(`{"canary":"`+canary+`"}`, "Authorization", "Bearer "+canary, "Content-Type", "application/json")
		for name := range req.Header {
			req.Header.Add("X-"+name, canary)
		}
		_, err := hookverify.Verify(s, nil, req, stamped())
		var refusal *claviger.Error
		if !errors.As(err, &refusal) || refusal.Message == "" || strings.Contains(err.Error(), canary) || strings.Contains(err.Error(), secretA) {
			t.Errorf("%s: %v", s.Key, err)
		}
	}
}
