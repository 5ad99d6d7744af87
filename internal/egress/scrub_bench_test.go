package egress

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"testing"

	"claviger"
)

func BenchmarkNewScrubber(b *testing.B) {
	secret := claviger.NewSecretString("ak_live_4f9c81d27b6e4a0e9d35c1a8")
	b.ReportAllocs()
	for b.Loop() {
		NewScrubber(secret)
	}
}

func BenchmarkScrubReader(b *testing.B) {
	scrubber := NewScrubber(claviger.NewSecretString("ak_live_4f9c81d27b6e4a0e9d35c1a8"))
	for _, size := range []int{1 << 10, 100 << 10} {
		random := make([]byte, size)
		_, _ = rand.Read(random)
		text := base64.StdEncoding.AppendEncode(nil, random)[:size] // the alphabet that is hardest to skip in
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			buf := make([]byte, 32<<10)
			source := bytes.NewReader(nil)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				source.Reset(text)
				r := scrubber.Reader(source)
				for {
					if _, err := r.Read(buf); err == io.EOF {
						break
					}
				}
			}
		})
	}
}
