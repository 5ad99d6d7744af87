package egress

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"claviger"
)

// naive reports whether a text has none of the forms, by looking for each.
func naive(s *Scrubber, text []byte) bool {
	for _, f := range s.forms {
		if bytes.Contains(text, f) {
			return false
		}
	}
	return true
}

func TestAbuse_125_LongTextsAtEveryPlace(t *testing.T) {
	s := NewScrubber(claviger.NewSecretString("ak_live_4f9c81d27b6e"), claviger.NewSecretString("secret"))
	for _, size := range []int{laneFloor - 1, laneFloor, laneFloor + 1, laneFloor + 2, laneFloor + 3} {
		text := bytes.Repeat([]byte("a"), size)
		if !s.clean(text) {
			t.Fatalf("%d: found what is not there", size)
		}
		for _, f := range s.forms {
			for at := 0; at+len(f) <= size; at++ {
				copy(text[at:], f)
				if s.clean(text) {
					t.Fatalf("%d bytes: %q at %d is not found", size, f, at)
				}
				for i := range f {
					text[at+i] = 'a'
				}
			}
		}
	}
}

func TestLanesFindWhatALookForEachFormFinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Few letters, so that windows often look like forms.
		secret := rapid.StringMatching(`[ab]{6,40}`).Draw(t, "secret")
		s := NewScrubber(claviger.NewSecretString(secret))
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		text := make([]byte, rapid.IntRange(laneFloor-2, 4*laneFloor).Draw(t, "size"))
		for i := range text {
			text[i] = "abbbc"[random.IntN(5)]
		}
		if got, want := s.clean(text), naive(s, text); got != want {
			t.Errorf("clean: %v, want %v", got, want)
		}
	})
}

func FuzzLanes(f *testing.F) {
	f.Add("secret", []byte("a secret and more"), uint16(3))
	f.Add("aaaaaa", []byte("aaaaab"), uint16(2000))
	f.Fuzz(func(t *testing.T, secret string, piece []byte, place uint16) {
		if len(secret) > 64 || len(piece) > 4096 {
			return
		}
		s := NewScrubber(claviger.NewSecretString(secret))
		text := make([]byte, 2*laneFloor)
		for i := range text {
			text[i] = byte(i * 7)
			if len(secret) > 0 && i%3 > 0 {
				text[i] = secret[i%len(secret)]
			}
		}
		copy(text[int(place)%len(text):], piece)
		if got, want := s.clean(text), naive(s, text); got != want {
			t.Errorf("clean: %v, want %v", got, want)
		}
	})
}
