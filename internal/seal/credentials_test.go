package seal

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"claviger"
)

func reveal(s claviger.Secret) (v string) {
	s.Use(func(b []byte) { v = string(b) })
	return v
}

func TestCredentialsRoundTrip(t *testing.T) {
	k := newKeyset(t)
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.MapOfN(rapid.StringN(1, 20, maxFieldName), rapid.String(), 0, 8).Draw(t, "values")
		in := claviger.Credentials{}
		for name, value := range values {
			in[name] = claviger.NewSecretString(value)
		}
		sealed, err := SealCredentials(k, place, in)
		if err != nil {
			t.Fatal(err)
		}
		out, err := OpenCredentials(k, place, sealed)
		if err != nil || len(out) != len(values) {
			t.Fatalf("OpenCredentials = %v, %v", out, err)
		}
		for name, value := range values {
			if reveal(out[name]) != value {
				t.Fatalf("%q came back as %q", value, reveal(out[name]))
			}
		}
	})
}

func TestSealCredentialsCaps(t *testing.T) {
	many := claviger.Credentials{}
	for i := range maxFields + 1 {
		many[fmt.Sprint(i)] = claviger.Secret{}
	}
	for param, c := range map[string]claviger.Credentials{
		"credentials":     many,
		"credentials.big": {"big": claviger.NewSecret(make([]byte, maxFieldSize+1))},
	} {
		_, err := SealCredentials(newKeyset(t), place, c)
		if e := claviger.AsError(err); e == nil || e.Kind != claviger.KindInvalid || e.Param != param {
			t.Errorf("%s: %v", param, err)
		}
	}
	for _, name := range []string{"", strings.Repeat("n", maxFieldName+1)} {
		if _, err := SealCredentials(newKeyset(t), place, claviger.Credentials{name: {}}); !claviger.IsKind(err, claviger.KindInvalid) {
			t.Errorf("a name of %d bytes: %v", len(name), err)
		}
	}
}

func TestOpenCredentialsRefusesOtherValues(t *testing.T) {
	k := newKeyset(t)
	sealed, err := k.Seal(place, []byte("not credentials"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCredentials(k, place, sealed); err != ErrOpen {
		t.Fatalf("got %v", err)
	}
}

func FuzzDecodeCredentials(f *testing.F) {
	for _, c := range []claviger.Credentials{
		{},
		{"a": claviger.NewSecretString("b")},
		{"a": {}, "b": claviger.NewSecretString("c")},
		{strings.Repeat("n", maxFieldName): claviger.NewSecretString("c")},
	} {
		b, err := encodeCredentials(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{formatV1, 0, 1, 1, 'a', 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, ok := decodeCredentials(b)
		if !ok {
			return
		}
		if again, err := encodeCredentials(c); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x re-encodes as %x, %v", b, again, err)
		}
	})
}
