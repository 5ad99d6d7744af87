package claviger_test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"claviger"

	"pgregory.net/rapid"
)

// Vectors of the TypeID specification 0.3 (github.com/jetify-com/typeid, valid.yml).
func TestTypeIDVectors(t *testing.T) {
	for _, v := range []struct{ id, uuid string }{
		{"prefix_00000000000000000000000000", "00000000-0000-0000-0000-000000000000"},
		{"prefix_00000000000000000000000001", "00000000-0000-0000-0000-000000000001"},
		{"prefix_0000000000000000000000000a", "00000000-0000-0000-0000-00000000000a"},
		{"prefix_0000000000000000000000000g", "00000000-0000-0000-0000-000000000010"},
		{"prefix_00000000000000000000000010", "00000000-0000-0000-0000-000000000020"},
		{"prefix_7zzzzzzzzzzzzzzzzzzzzzzzzz", "ffffffff-ffff-ffff-ffff-ffffffffffff"},
		{"prefix_0123456789abcdefghjkmnpqrs", "0110c853-1d09-52d8-d73e-1194e95b5f19"},
		{"prefix_01h455vb4pex5vsknk084sn02q", "01890a5d-ac96-774b-bcce-b302099a8057"},
	} {
		if uuid, err := claviger.UUID("prefix", v.id); err != nil || uuid != v.uuid {
			t.Errorf("UUID(%s) = %s, %v; want %s", v.id, uuid, err, v.uuid)
		}
		if id, err := claviger.FromUUID("prefix", v.uuid); err != nil || id != v.id {
			t.Errorf("FromUUID(%s) = %s, %v; want %s", v.uuid, id, err, v.id)
		}
	}
}

func TestIDsThatAreNone(t *testing.T) {
	for name, id := range map[string]string{
		"empty": "", "no prefix": "01h455vb4pex5vsknk084sn02q", "other prefix": "app_01h455vb4pex5vsknk084sn02q",
		"prefix alone": "conn_", "short": "conn_01h455vb4pex5vsknk084sn02", "long": "conn_01h455vb4pex5vsknk084sn02qq",
		"over 128 bits": "conn_8zzzzzzzzzzzzzzzzzzzzzzzzz", "upper case": "conn_01H455VB4PEX5VSKNK084SN02Q",
		"ambiguous i": "conn_01h455vb4pex5vsknk084sn0i2", "ambiguous o": "conn_01h455vb4pex5vsknk084sn0o2",
		"newline": "conn_01h455vb4pex5vsknk084sn02q\n", "NUL": "conn_01h455vb4pex5vsknk084sn02\x00",
		"upper prefix": "CONN_01h455vb4pex5vsknk084sn02q", "full-width": "conn_01h455vb4pex5vsknk084sn０q",
	} {
		if claviger.ValidID(claviger.PrefixConnection, id) {
			t.Errorf("%s: %q passes for an identifier", name, id)
		}
		if _, err := claviger.UUID(claviger.PrefixConnection, id); err == nil {
			t.Errorf("%s: %q has a UUID", name, id)
		}
	}
	for name, uuid := range map[string]string{
		"empty": "", "no hyphens": "01890a5dac96774bbcceb302099a8057", "braces": "{01890a5d-ac96-774b-bcce-b302099a8057}",
		"not hex": "01890a5d-ac96-774b-bcce-b302099a805g", "hyphens elsewhere": "01890a5-dac96-774b-bcce-b302099a8057",
		"hyphens inside": "0189-a5d-ac96-774b-bcce-b302099a8057",
	} {
		if id, err := claviger.FromUUID("conn", uuid); err == nil {
			t.Errorf("%s: %q became %s", name, uuid, id)
		}
	}
}

func TestNewID(t *testing.T) {
	at := time.UnixMilli(0x01890a5dac96)
	id, err := claviger.NewID(claviger.PrefixConnection, at, bytes.NewReader(bytes.Repeat([]byte{0xff}, 10)))
	if err != nil {
		t.Fatal(err)
	}
	uuid, err := claviger.UUID(claviger.PrefixConnection, id)
	if want := "01890a5d-ac96-7fff-bfff-ffffffffffff"; err != nil || uuid != want {
		t.Errorf("got %s, %v; want %s: the time, then version 7, then the variant", uuid, err, want)
	}
	broken := errors.New("no entropy")
	if id, err := claviger.NewID("conn", at, iotest.ErrReader(broken)); !errors.Is(err, broken) || id != "" {
		t.Errorf("with a failing source: got %q, %v; an identifier must never be made without randomness", id, err)
	}
	if _, err := claviger.NewID("conn", at, strings.NewReader("short")); err == nil {
		t.Error("with a short source: got no error")
	}
}

func TestIDRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "bits")
		prefix := rapid.StringMatching(`[a-z]{1,8}`).Draw(t, "prefix")
		h := hex.EncodeToString(u)
		uuid := h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
		id, err := claviger.FromUUID(prefix, uuid)
		if err != nil {
			t.Fatal(err)
		}
		back, err := claviger.UUID(prefix, id)
		if err != nil || back != uuid || !claviger.ValidID(prefix, id) || len(id) != len(prefix)+27 {
			t.Fatalf("%s became %s became %s, %v", uuid, id, back, err)
		}
	})
}

func TestIDsAreOrderedByTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.Int64Range(0, 1<<47).Draw(t, "a")
		b := rapid.Int64Range(a+1, 1<<48-1).Draw(t, "b")
		first, err1 := claviger.NewID("evt", time.UnixMilli(a), rand.Reader)
		second, err2 := claviger.NewID("evt", time.UnixMilli(b), rand.Reader)
		if err1 != nil || err2 != nil || first >= second {
			t.Fatalf("%s at %d is not before %s at %d (%v, %v)", first, a, second, b, err1, err2)
		}
	})
}

func FuzzID(f *testing.F) {
	f.Add("conn", "conn_01h455vb4pex5vsknk084sn02q")
	f.Add("", "_7zzzzzzzzzzzzzzzzzzzzzzzzz")
	f.Fuzz(func(t *testing.T, prefix, id string) {
		uuid, err := claviger.UUID(prefix, id)
		if err != nil {
			return
		}
		if back, err := claviger.FromUUID(prefix, uuid); err != nil || back != id {
			t.Errorf("%q is accepted but comes back as %q, %v: two texts for one identifier", id, back, err)
		}
	})
}

func BenchmarkNewID(b *testing.B) {
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := claviger.NewID(claviger.PrefixEntry, now, rand.Reader); err != nil {
			b.Fatal(err)
		}
	}
}
