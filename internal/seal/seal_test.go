package seal

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"claviger"
)

func newKeyset(t testing.TB) *Keyset {
	t.Helper()
	k, err := NewKeyset(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newKEK(t testing.TB, fill byte) KEK {
	t.Helper()
	kek, err := LocalKEK(claviger.NewSecret(bytes.Repeat([]byte{fill}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return kek
}

var place = claviger.Binding{
	Purpose: "connection", Organization: "org_a", ID: "conn_1", Revision: 7, Destination: "https://api.acme.example",
}

func TestSealOpen(t *testing.T) {
	k := newKeyset(t)
	sealed, err := k.Seal(place, []byte("value"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("value")) {
		t.Fatal("the ciphertext shows the value")
	}
	for range 2 {
		plain, err := k.Open(place, sealed)
		if err != nil || string(plain) != "value" {
			t.Fatalf("Open = %q, %v", plain, err)
		}
	}
}

// swaps are the ways to move a ciphertext to where it does not belong.
var swaps = map[string]func(*claviger.Binding){
	"purpose":      func(b *claviger.Binding) { b.Purpose = "secret" },
	"organization": func(b *claviger.Binding) { b.Organization = "org_b" },
	"row":          func(b *claviger.Binding) { b.ID = "conn_2" },
	"older":        func(b *claviger.Binding) { b.Revision-- },
	"newer":        func(b *claviger.Binding) { b.Revision++ },
	"destination":  func(b *claviger.Binding) { b.Destination = "https://evil.example" },
	"shifted":      func(b *claviger.Binding) { b.Purpose, b.Organization = b.Purpose+"o", b.Organization[1:] },
	"empty":        func(b *claviger.Binding) { *b = claviger.Binding{} },
}

func TestAbuse_189_SwappedCiphertextDoesNotOpen(t *testing.T) {
	k := newKeyset(t)
	sealed, err := k.Seal(place, []byte("value"))
	if err != nil {
		t.Fatal(err)
	}
	for name, move := range swaps {
		t.Run(name, func(t *testing.T) {
			elsewhere := place
			move(&elsewhere)
			if plain, err := k.Open(elsewhere, sealed); err != ErrOpen || plain != nil {
				t.Fatalf("Open = %q, %v; want ErrOpen", plain, err)
			}
		})
	}
	t.Run("keyset", func(t *testing.T) {
		if _, err := newKeyset(t).Open(place, sealed); err != ErrOpen {
			t.Fatalf("another keyset opened it: %v", err)
		}
	})
	t.Run("deployment", func(t *testing.T) {
		// The same master key and organization id elsewhere still has its own keyset.
		kek := newKEK(t, 1)
		wrapped, err := newKeyset(t).Wrap(t.Context(), kek, place.Organization)
		if err != nil {
			t.Fatal(err)
		}
		other, err := OpenKeyset(t.Context(), kek, place.Organization, wrapped)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := other.Open(place, sealed); err != ErrOpen {
			t.Fatalf("another deployment opened it: %v", err)
		}
	})
}

func TestAbuse_097_RowSwap(t *testing.T) {
	k := newKeyset(t)
	other := place
	other.ID = "conn_2"
	mine, err := SealCredentials(k, place, claviger.Credentials{"refreshToken": claviger.NewSecretString("mine")})
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := SealCredentials(k, other, claviger.Credentials{"refreshToken": claviger.NewSecretString("theirs")})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		at     claviger.Binding
		sealed claviger.Sealed
	}{"theirs at mine": {place, theirs}, "mine at theirs": {other, mine}} {
		if got, err := OpenCredentials(k, c.at, c.sealed); err != ErrOpen || got != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestAbuse_190_AlteredCiphertextDoesNotOpen(t *testing.T) {
	k := newKeyset(t)
	sealed, err := k.Seal(place, []byte("some value"))
	if err != nil {
		t.Fatal(err)
	}
	refuse := func(t *testing.T, s claviger.Sealed) {
		t.Helper()
		if plain, err := k.Open(place, s); err != ErrOpen || plain != nil {
			t.Fatalf("Open(%x) = %q, %v; want ErrOpen", s, plain, err)
		}
	}
	t.Run("bits", func(t *testing.T) {
		for i := range sealed {
			for bit := range 8 {
				altered := bytes.Clone(sealed)
				altered[i] ^= 1 << bit
				refuse(t, altered)
			}
		}
	})
	t.Run("cut", func(t *testing.T) {
		for n := range sealed {
			refuse(t, sealed[:n])
			refuse(t, sealed[n+1:])
		}
	})
	t.Run("longer", func(t *testing.T) {
		refuse(t, append(bytes.Clone(sealed), 0))
		refuse(t, append(claviger.Sealed{formatV1}, sealed...))
	})
}

func TestAbuse_195_Randomness(t *testing.T) {
	t.Run("failure", func(t *testing.T) {
		for n := range 36 {
			short := io.LimitReader(rand.Reader, int64(n))
			if k, err := NewKeyset(short); err == nil || k != nil {
				t.Fatalf("a keyset from %d random bytes", n)
			}
		}
		if next, err := newKeyset(t).Rotate(strings.NewReader("")); err == nil || next != nil {
			t.Fatal("rotated without randomness")
		}
	})
	t.Run("repeat", func(t *testing.T) {
		repeating := bytes.Repeat([]byte{7}, 36)
		k, err := NewKeyset(bytes.NewReader(repeating))
		if err != nil {
			t.Fatal(err)
		}
		if next, err := k.Rotate(bytes.NewReader(repeating)); err == nil || next != nil {
			t.Fatal("a source that repeats itself made a second key")
		}
	})
	t.Run("zero", func(t *testing.T) {
		if _, err := NewKeyset(bytes.NewReader(make([]byte, 36))); err == nil {
			t.Fatal("a source of zeros made a key")
		}
	})
	t.Run("limit", func(t *testing.T) {
		k := newKeyset(t)
		k.Sealed(RotateSeals)
		for range 3 {
			if _, err := k.Seal(place, nil); err != nil {
				t.Fatalf("Seal: %v", err)
			}
		}
		if n := k.TakeSeals(); n != 3 || k.TakeSeals() != 0 {
			t.Fatalf("counted %d of 3", n)
		}
		k.Sealed(maxSeals - 1) // others have sealed too
		if _, err := k.Seal(place, nil); err != nil {
			t.Fatalf("the last one: %v", err)
		}
		if _, err := k.Seal(place, nil); err != ErrExhausted {
			t.Fatalf("sealed beyond the limit: %v", err)
		}
		again, err := k.Retire()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := again.Seal(place, nil); err != ErrExhausted {
			t.Fatalf("retiring reset the count: %v", err)
		}
		next, err := k.Rotate(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := next.Seal(place, nil); err != nil {
			t.Fatalf("the rotated keyset does not seal: %v", err)
		}
	})
}

func TestRotateAndRetire(t *testing.T) {
	first := newKeyset(t)
	old, err := first.Seal(place, []byte("old"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := first.Rotate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if second.PrimaryID() == first.PrimaryID() || second.Len() != 2 || first.Len() != 1 {
		t.Fatalf("primary %d, %d; keys %d, %d", first.PrimaryID(), second.PrimaryID(), first.Len(), second.Len())
	}
	if plain, err := second.Open(place, old); err != nil || string(plain) != "old" {
		t.Fatalf("after the rotation: %q, %v", plain, err)
	}
	if id, err := KeyID(old); err != nil || id != first.PrimaryID() || !second.Has(id) {
		t.Fatalf("KeyID = %d, %v", id, err)
	}
	fresh, err := second.Seal(place, []byte("new"))
	if err != nil {
		t.Fatal(err)
	}
	if id, _ := KeyID(fresh); id != second.PrimaryID() || first.Has(id) {
		t.Fatalf("sealed with key %d, not with the primary", id)
	}
	third, err := second.Retire()
	if err != nil || third.Len() != 1 || third.PrimaryID() != second.PrimaryID() {
		t.Fatalf("Retire: %v, %v", third, err)
	}
	if _, err := third.Open(place, old); err != ErrOpen {
		t.Fatalf("a retired key still opens: %v", err)
	}
	if plain, err := third.Open(place, fresh); err != nil || string(plain) != "new" {
		t.Fatalf("after retiring: %q, %v", plain, err)
	}
}

type brokenKEK struct{ KEK }

var errNetwork = errors.New("key service away")

func (brokenKEK) Unwrap(context.Context, []byte, []byte) ([]byte, error) { return nil, errNetwork }

func TestOpenKeyset(t *testing.T) {
	ctx, kek, k := t.Context(), newKEK(t, 1), newKeyset(t)
	wrapped, err := k.Wrap(ctx, kek, "org_a")
	if err != nil {
		t.Fatal(err)
	}
	same, err := OpenKeyset(ctx, kek, "org_a", wrapped)
	if err != nil || same.PrimaryID() != k.PrimaryID() {
		t.Fatalf("OpenKeyset: %v", err)
	}
	for name, open := range map[string]func() (*Keyset, error){
		"another master key":   func() (*Keyset, error) { return OpenKeyset(ctx, newKEK(t, 2), "org_a", wrapped) },
		"another organization": func() (*Keyset, error) { return OpenKeyset(ctx, kek, "org_b", wrapped) },
		"the instance":         func() (*Keyset, error) { return OpenKeyset(ctx, kek, "", wrapped) },
		"nothing":              func() (*Keyset, error) { return OpenKeyset(ctx, kek, "org_a", nil) },
		"cut":                  func() (*Keyset, error) { return OpenKeyset(ctx, kek, "org_a", wrapped[:20]) },
		"another format":       func() (*Keyset, error) { return OpenKeyset(ctx, kek, "org_a", append([]byte{2}, wrapped[1:]...)) },
	} {
		if got, err := open(); err != ErrWrongMasterKey || got != nil {
			t.Errorf("%s: %v; want ErrWrongMasterKey", name, err)
		}
	}
	if _, err := OpenKeyset(ctx, brokenKEK{}, "org_a", wrapped); !errors.Is(err, errNetwork) {
		t.Errorf("a key service that is away: %v", err)
	}
}

func TestLocalKEKRefusesOtherSizes(t *testing.T) {
	for _, n := range []int{0, 16, 31, 33, 64} {
		if _, err := LocalKEK(claviger.NewSecret(make([]byte, n))); !claviger.IsKind(err, claviger.KindInvalid) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestAbuse_202_BindingIsInjective(t *testing.T) {
	// Few letters and short texts, so that shifting a border is likely to collide if
	// anything can.
	text := rapid.StringMatching(`[a:\x00\x01]{0,4}`)
	binding := rapid.Custom(func(t *rapid.T) claviger.Binding {
		return claviger.Binding{
			Purpose: text.Draw(t, "purpose"), Organization: claviger.OrganizationID(text.Draw(t, "organization")),
			ID: text.Draw(t, "id"), Revision: rapid.Int64Range(-2, 300).Draw(t, "revision"), Destination: text.Draw(t, "destination"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := binding.Draw(t, "a"), binding.Draw(t, "b")
		if same := bytes.Equal(appendBinding(nil, formatV1, a), appendBinding(nil, formatV1, b)); same != (a == b) {
			t.Fatalf("%+v and %+v: encodings equal: %v", a, b, same)
		}
	})
}

func FuzzOpen(f *testing.F) {
	k := newKeyset(f)
	sealed, err := k.Seal(place, []byte("value"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(sealed))
	f.Add([]byte{})
	f.Add([]byte{formatV1, tinkPrefix, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, s []byte) {
		plain, err := k.Open(place, s)
		if bytes.Equal(s, sealed) != (err == nil) || err != nil && (err != ErrOpen || plain != nil) {
			t.Fatalf("Open(%x) = %q, %v", s, plain, err)
		}
		if _, err := KeyID(s); err != nil && err != ErrOpen {
			t.Fatal(err)
		}
		if _, err := OpenKeyset(t.Context(), newKEK(t, 1), "org_a", s); err != ErrWrongMasterKey {
			t.Fatal(err)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	k := newKeyset(b)
	sealed, err := k.Seal(place, make([]byte, 60))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Open(place, sealed); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenCredentials(b *testing.B) {
	k := newKeyset(b)
	sealed, err := SealCredentials(k, place, claviger.Credentials{"apiKey": claviger.NewSecret(make([]byte, 40))})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := OpenCredentials(k, place, sealed); err != nil {
			b.Fatal(err)
		}
	}
}

func TestRing(t *testing.T) {
	ctx, old, next := t.Context(), newKEK(t, 1), newKEK(t, 2)
	if old.ID() == "" || old.ID() == next.ID() || old.ID() != newKEK(t, 1).ID() {
		t.Errorf("ids: %q and %q", old.ID(), next.ID())
	}
	both, k := Ring(next, old), newKeyset(t)
	before, err := k.Wrap(ctx, old, "org_a")
	if err != nil {
		t.Fatal(err)
	}
	same, err := OpenKeyset(ctx, both, "org_a", before)
	if err != nil || same.PrimaryID() != k.PrimaryID() {
		t.Fatalf("of the key before: %v", err)
	}
	after, err := same.Wrap(ctx, both, "org_a")
	if err != nil || both.ID() != next.ID() {
		t.Fatal(err)
	}
	if _, err := OpenKeyset(ctx, next, "org_a", after); err != nil {
		t.Errorf("it did not wrap with the present key: %v", err)
	}
	for name, kek := range map[string]KEK{"the key before": old, "others": Ring(newKEK(t, 3), newKEK(t, 4)), "none": Ring(newKEK(t, 3))} {
		if _, err := OpenKeyset(ctx, kek, "org_a", after); !errors.Is(err, ErrWrongMasterKey) {
			t.Errorf("%s opens it: %v", name, err)
		}
	}
	if _, err := OpenKeyset(ctx, Ring(brokenKEK{next}, old), "org_a", before); !errors.Is(err, errNetwork) {
		t.Errorf("a key that cannot be asked is passed over: %v", err)
	}
}
