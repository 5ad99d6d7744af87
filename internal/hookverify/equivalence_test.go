package hookverify_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"claviger/internal/hookverify"
)

// HMAC knows no difference between a key and the same with zeros behind it, nor between
// one longer than a block and its hash (RFC 2104, section 2). What that means here: zeros
// make no key out of nothing, a text cannot have them, and nobody who lacks the key has
// its equal.
func TestAbuse_203_KeysThatHMACCannotTellApart(t *testing.T) {
	const body = `{"event":"test"}`
	github, standard := scheme(t, "github", nil), scheme(t, "standard-webhooks", nil)
	t.Run("zeros", func(t *testing.T) {
		equal := hmac.Equal(hmac256(secretA, body), hmac256(secretA+"\x00\x00", body))
		if !equal {
			t.Fatal("the premise does not hold")
		}
		for _, secret := range []string{secretA + "\x00", secretA + strings.Repeat("\x00", 40), "\x00" + secretA} {
			if _, err := newKey(github, secret); code(err) != hookverify.CodeNotConfigured {
				t.Errorf("a text with zeros is a secret: %v", err)
			}
		}
		for name, raw := range map[string][]byte{
			"the empty key": make([]byte, 32), "one byte": append([]byte("x"), make([]byte, 40)...), "seven bytes": []byte("1234567\x00"),
		} {
			for _, secret := range []string{"whsec_" + base64.StdEncoding.EncodeToString(raw), base64.StdEncoding.EncodeToString(raw)} {
				if _, err := newKey(standard, secret); code(err) != hookverify.CodeNotConfigured {
					t.Errorf("%s with zeros behind it is a secret: %v", name, err)
				}
			}
		}
		for _, raw := range [][]byte{[]byte("12345678\x00"), []byte("\x00\x00\x00\x00\x00\x00\x00x"), bytes.Repeat([]byte("k\x00"), 12)} {
			if _, err := newKey(standard, "whsec_"+base64.StdEncoding.EncodeToString(raw)); err != nil {
				t.Errorf("the bytes %q are no secret: %v", raw, err)
			}
		}
	})
	t.Run("longer than a block", func(t *testing.T) {
		long := strings.Repeat("0123456789abcdef", 5)
		hash := sha256.Sum256([]byte(long))
		if !hmac.Equal(hmac256(long, body), hmac256(string(hash[:]), body)) {
			t.Fatal("the premise does not hold")
		}
		signed := post(body, "X-Hub-Signature-256", "sha256="+hex.EncodeToString(hmac256(long, body)))
		verify := func(secret string) string {
			_, err := hookverify.Verify(github, []hookverify.Key{mustKey(t, github, "k", secret)}, signed, time.Unix(1700000000, 0))
			return code(err)
		}
		if got := verify(long); got != "" {
			t.Errorf("a long secret: %s", got)
		}
		// What people see of a hash is its text, which is another key.
		for _, text := range []string{hex.EncodeToString(hash[:]), base64.StdEncoding.EncodeToString(hash[:]), long[:64]} {
			if got := verify(text); got == "" {
				t.Errorf("the secret %s passes for the long one", text)
			}
		}
		if _, err := newKey(github, string(hash[:])); code(err) != hookverify.CodeNotConfigured {
			t.Errorf("the bytes of the hash are a secret: %v", err)
		}
	})
}
