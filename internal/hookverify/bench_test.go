package hookverify_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"

	"claviger/connectors"
	"claviger/internal/hookverify"
)

// BenchmarkVerify measures a verification beside the bare HMAC over the same body. The
// rest is the SHA-256 of the replay key, and what does not grow with the body.
func BenchmarkVerify(b *testing.B) {
	s := scheme(b, "github", nil)
	keys := []hookverify.Key{mustKey(b, s, "k", secretA)}
	for _, size := range []int{1 << 10, 64 << 10} {
		body := bytes.Repeat([]byte("x"), size)
		req := post(string(body), "X-Hub-Signature-256", "sha256="+hex.EncodeToString(hmac256(secretA, string(body))))
		name := fmt.Sprintf("%dKiB", size>>10)
		b.Run(name+"/hmac", func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				mac := hmac.New(sha256.New, []byte(secretA))
				mac.Write(body)
				mac.Sum(nil)
			}
		})
		b.Run(name+"/verify", func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := hookverify.Verify(s, keys, req, stamped()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLoad measures what a start pays for all schemes.
func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		if _, err := hookverify.Load(connectors.Webhooks, "webhooks"); err != nil {
			b.Fatal(err)
		}
	}
}
