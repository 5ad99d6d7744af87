package hookverify_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"claviger"
	"claviger/internal/hookverify"
)

// Whatever a stranger sends: no panic, no acceptance, and the same verdict twice.
func FuzzAbuse_160_Verify(f *testing.F) {
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
func FuzzAbuse_160_Keys(f *testing.F) {
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
func FuzzAbuse_160_Documents(f *testing.F) {
	f.Add(goodDocument)
	f.Add("key: x\nhandshake: [{method: GET}]\nsettings: [{key: a}]\n")
	f.Fuzz(func(_ *testing.T, document string) { _ = load(document) })
}
