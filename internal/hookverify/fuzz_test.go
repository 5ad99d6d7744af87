package hookverify_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"net/http"
	"strings"
	"testing"

	"claviger"
	"claviger/internal/hookverify"
)

// Whatever a stranger sends: no panic, no acceptance, and the same verdict twice.
func FuzzVerify(f *testing.F) {
	schemes := builtin(f).Schemes()
	for i, v := range vectors(f) {
		req := v.request(f)
		for name := range req.Header {
			f.Add(uint16(i), "POST", req.URL, name, req.Header.Get(name), "Content-Type", "application/json", req.Body)
		}
	}
	f.Add(uint16(2), "GET", "https://example.com/?challenge=%zz&a=1;b", "Authorization", "Bearer a.b.c", "Content-Type", "multipart/form-data; boundary=x", []byte("--x\r\n"))
	f.Fuzz(func(t *testing.T, pick uint16, method, address, name1, value1, name2, value2 string, body []byte) {
		s := schemes[int(pick)%len(schemes)]
		settings := map[string]string{}
		for _, x := range s.Settings {
			settings[x.Key] = "X-Setting"
		}
		s, err := s.With(settings)
		if err != nil {
			t.Fatal(err)
		}
		req := &hookverify.Request{Method: method, URL: address, Header: http.Header{}, Body: body}
		req.Header.Add(name1, value1)
		req.Header.Add(name2, value2)
		var keys []hookverify.Key
		if k, err := newKey(s, "a-secret-nobody-can-know:5d1c9f"); err == nil {
			keys = append(keys, k)
		}
		before := bytes.Clone(body)
		v, err := hookverify.Verify(s, keys, req, stamped())
		again, errAgain := hookverify.Verify(s, keys, req, stamped())
		if code(err) != code(errAgain) || !bytes.Equal(v.ReplayKey, again.ReplayKey) || !bytes.Equal(before, req.Body) {
			t.Fatalf("%v, then %v", err, errAgain)
		}
		if err == nil && !strings.Contains(value1+value2+address+string(body), "5d1c9f") && !strings.Contains(value1+value2, "YS1zZWNyZX") {
			t.Fatalf("%s accepted %+v", s.Key, v)
		}
		if err != nil && (!claviger.IsKind(err, claviger.KindUnauthenticated) || v.ReplayKey != nil) {
			t.Fatalf("%s: %v", s.Key, err)
		}
		if answer, err := hookverify.Handshake(s, keys, req, stamped()); err == nil && answer != nil && (answer.Status != 200 || len(answer.Body) > 1<<15) {
			t.Fatalf("%+v", answer)
		}
		if s.FetchesKeys() {
			if ref, err := s.KeyRef(req); err == nil {
				if !strings.HasPrefix(ref.URL, "https://") {
					t.Fatalf("%+v", ref)
				}
				_, _ = s.FetchedKeys(ref, body, stamped())
			}
		}
		_ = hookverify.Explain(s, claviger.NewSecretString("a-secret-nobody-can-know:5d1c9f"), req, stamped())
	})
}

// A key is text that somebody pasted.
func FuzzKeys(f *testing.F) {
	schemes := builtin(f).Schemes()
	f.Add(uint16(1), "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
	f.Add(uint16(3), "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n")
	f.Fuzz(func(t *testing.T, pick uint16, text string) {
		s := schemes[int(pick)%len(schemes)]
		k, err := s.NewKey("k", claviger.NewSecretString(text))
		if err == nil && (len(text) < hookverify.MinKey || strings.TrimSpace(text) == "" || k.ID() != "k") {
			t.Fatalf("%s made a key of %q", s.Key, text)
		}
		if err != nil && code(err) != hookverify.CodeNotConfigured {
			t.Fatal(err)
		}
	})
}

// The reading of a document never panics.
func FuzzDocuments(f *testing.F) {
	f.Add(goodDocument)
	f.Add("key: x\nhandshake: [{method: GET}]\nsettings: [{key: a}]\n")
	f.Fuzz(func(_ *testing.T, document string) { _ = load(document) })
}

// Bodies that no vendor means to send, genuinely signed: what a scheme looks for in them
// is not there, of another type, or far too much.
func TestAbuse_160_MalformedPayloads(t *testing.T) {
	bodies := []string{
		"", "null", "0", `""`, "[]", "{}", "[[]]", `[null]`, `[{}]`, `{"id":null}`, `{"id":{}}`, `{"id":[1,2]}`, `{"id":1e999}`, `{"id":-0}`, `{"type":["a",{"b":0}]}`,
		`{"event":{"type":null,"event_type":[]}}`, `{"id":"\u0000"}`, `{"id":"\ud800"}`, `{"id":"` + strings.Repeat("x", 1<<16) + `"}`,
		strings.Repeat("[", 1<<16), strings.Repeat(`{"a":`, 1<<12) + "1" + strings.Repeat("}", 1<<12), "[" + strings.Repeat("{},", 1<<16) + "{}]",
		`{"events":` + strings.Repeat("[", 60) + strings.Repeat("]", 60) + `}`, "\xff\xfe", "\xef\xbb\xbf{}", "{\"id\":1}\x00", `{"id":1,"id":2}`, "%", "a=b&a=c;d", "--\r\n",
	}
	tried := 0
	for _, s := range builtin(t).Schemes() {
		key, err := newKey(s, "a-secret-of-this-test-0123456789")
		if s.Kind != hookverify.KindHMAC || s.Timed() || len(s.Settings) > 0 || err != nil {
			continue
		}
		v := vectorOf(t, s.Key)
		if v == nil || v.Signed != v.Body || v.Form != nil || signatureHeaders[s.Key] == "" || s.Key == "connectwise" /* its key is a hash */ {
			continue
		}
		for i, body := range bodies {
			tried++
			signed(t, s, key, v, post(body, "Content-Type", []string{"application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"}[i%3]))
		}
	}
	for _, body := range bodies {
		github := scheme(t, "github", nil)
		if e := hookverify.Explain(github, claviger.NewSecretString(secretA), post(body, "X-Hub-Signature-256", "sha256="+strings.Repeat("0", 64)), stamped()); e.Accepted || len(e.Causes) > 0 {
			t.Errorf("%.40q: %+v", body, e)
		}
	}
	if tried < 1000 {
		t.Errorf("%d deliveries were signed", tried)
	}
}

func vectorOf(t *testing.T, key string) *vector {
	for _, v := range vectors(t) {
		if v.Scheme == key {
			return &v
		}
	}
	return nil
}

// signed gives the request the signature of its body and verifies it.
func signed(t *testing.T, s *hookverify.Scheme, key hookverify.Key, v *vector, req *hookverify.Request) {
	t.Helper()
	mac := hmac.New(map[int]func() hash.Hash{20: sha1.New, 32: sha256.New, 64: sha512.New}[decodedLen(v.Signature)], []byte("a-secret-of-this-test-0123456789"))
	mac.Write(req.Body)
	sig := hex.EncodeToString(mac.Sum(nil))
	if _, err := hex.DecodeString(v.Signature); err != nil {
		sig = base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	req.Header.Set(signatureHeaders[s.Key], strings.Replace(v.Carrier, v.Signature, sig, 1))
	verdict, err := hookverify.Verify(s, []hookverify.Key{key}, req, stamped())
	if err != nil && code(err) != hookverify.CodeRequest || len(verdict.DeliveryID) > 255 || len(verdict.EventType) > 255 || strings.ContainsAny(verdict.DeliveryID+verdict.EventType, "\x00\r\n") {
		t.Errorf("%s, %.40q: %+v %v", s.Key, req.Body, verdict, err)
	}
}

func decodedLen(signature string) int {
	if raw, err := hex.DecodeString(signature); err == nil {
		return len(raw)
	}
	raw, _ := base64.StdEncoding.DecodeString(signature)
	return len(raw)
}
