package hookverify_test

import (
	"bytes"
	"testing"

	"claviger/internal/hookverify"
)

// unbound are the schemes of vectors whose signature does not cover the whole body.
var unbound = map[string]bool{"mailgun": true, "lever": true, "dropbox-sign": true}

// Every vector verifies, twice on the same values, and neither a changed body nor a
// changed signature, secret or signed header does.
func TestVectors(t *testing.T) {
	all := vectors(t)
	for _, v := range all {
		t.Run(v.Scheme, func(t *testing.T) {
			s := scheme(t, v.Scheme, nil)
			keys := []hookverify.Key{mustKey(t, s, "k1", v.Secret)}
			req := v.request(t)
			before := clone(req)
			first, err := hookverify.Verify(s, keys, req, stamped())
			if err != nil {
				t.Fatalf("%v\n%s", err, req.Body)
			}
			again, err := hookverify.Verify(s, keys, req, stamped())
			if err != nil || !bytes.Equal(first.ReplayKey, again.ReplayKey) || !bytes.Equal(req.Body, before.Body) {
				t.Fatalf("second time: %v", err)
			}
			if first.KeyID != "k1" || len(first.ReplayKey) != 32 || s.Timed() && !first.Timestamp.Equal(stamped()) {
				t.Fatalf("verdict %+v", first)
			}
			refused := func(what string, keys []hookverify.Key, change func(*hookverify.Request)) {
				t.Helper()
				bad := clone(before)
				change(bad)
				if v, err := hookverify.Verify(s, keys, bad, stamped()); err == nil {
					t.Errorf("%s was accepted: %+v", what, v)
				}
			}
			for i := range before.Body {
				for bit := range 8 {
					if unbound[v.Scheme] || i > 40 && i < len(before.Body)-5 || v.Form != nil && bit == 5 /* %2B and %2b are one sign */ {
						continue
					}
					refused("a changed body", keys, func(r *hookverify.Request) { r.Body[i] ^= 1 << bit })
				}
			}
			for name := range before.Header {
				if name == "Content-Type" || name == "Sentry-Hook-Timestamp" {
					continue
				}
				refused("a changed "+name, keys, func(r *hookverify.Request) {
					value := []byte(r.Header.Get(name))
					value[len(value)-1] ^= 1
					r.Header.Set(name, string(value))
				})
				refused("two "+name, keys, func(r *hookverify.Request) { r.Header.Add(name, r.Header.Get(name)) })
				refused("no "+name, keys, func(r *hookverify.Request) { r.Header.Del(name) })
			}
			other := []hookverify.Key{mustKey(t, s, "k2", v.Secret[:6]+"4142"+v.Secret[10:]), {}}
			refused("another key", other, func(*hookverify.Request) {})
			refused("no key", nil, func(*hookverify.Request) {})
		})
	}
	t.Logf("%d vectors", len(all))
	if len(all) != 105 {
		t.Errorf("%d vectors, not 105", len(all))
	}
}
