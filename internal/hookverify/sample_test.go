package hookverify_test

import (
	"slices"
	"testing"

	"claviger/internal/hookverify"
)

// Every delivery that is made up verifies with its key, and with no other; and so it is
// for most of the schemes whose secret both sides have.
func TestSample(t *testing.T) {
	shared := []hookverify.Kind{hookverify.KindHMAC, hookverify.KindHash, hookverify.KindToken, hookverify.KindBasic}
	const secret, otherSecret = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "fedcba98765432100123456789abcdef0123456789abcdef0123456789abcdef"
	const address = "https://claviger.example/webhooks/crm"
	tried, made := 0, 0
	for _, s := range builtin(t).Schemes() {
		var key, other hookverify.Key
		var err error
		for _, prefix := range []string{"", "whsec_"} {
			if key, err = newKey(s, prefix+secret); err == nil {
				other, err = newKey(s, prefix+otherSecret)
				break
			}
		}
		if !slices.Contains(shared, s.Kind) {
			if _, err := hookverify.Sample(s, key, address, stamped()); code(err) != hookverify.CodeNotVerifiable {
				t.Errorf("%s: only the vendor can sign: %v", s.Key, err)
			}
			continue
		}
		if err != nil {
			continue
		}
		req, err := hookverify.Sample(s, key, address, stamped())
		tried++
		if err != nil {
			continue
		}
		made++
		for range 2 {
			if _, err := hookverify.Verify(s, []hookverify.Key{key}, req, stamped()); err != nil {
				t.Errorf("%s: %v", s.Key, err)
			}
		}
		if _, err := hookverify.Verify(s, []hookverify.Key{other}, req, stamped()); err == nil {
			t.Errorf("%s: another key vouches for it", s.Key)
		}
		if _, err := hookverify.Sample(s, hookverify.Key{}, address, stamped()); err == nil {
			t.Errorf("%s: signed without a key", s.Key)
		}
	}
	if made == 0 || made*10 < tried*8 {
		t.Errorf("%d of %d schemes could be tried", made, tried)
	}
}
