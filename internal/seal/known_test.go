package seal

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/tink-crypto/tink-go/v2/aead/aesgcm"

	"claviger"
)

var update = flag.Bool("update", false, "write new golden files; never for a format that exists")

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestAbuse_196_AESGCM checks the vectors of McGrew and Viega, "The Galois/Counter
// Mode of Operation", test cases 13, 14 and 16, which the NIST validation uses too.
func TestAbuse_196_AESGCM(t *testing.T) {
	for name, v := range map[string]struct{ key, iv, plain, aad, cipher, tag string }{
		"13": {strings.Repeat("00", 32), strings.Repeat("00", 12), "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
		"14": {
			strings.Repeat("00", 32), strings.Repeat("00", 12), strings.Repeat("00", 16), "",
			"cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919",
		},
		"16": {
			strings.Repeat("feffe9928665731c6d6a8f9467308308", 2), "cafebabefacedbaddecaf888",
			"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
			"feedfacedeadbeeffeedfacedeadbeefabaddad2",
			"522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
			"76fc6ece0f4e1768cddf8853bb2d551b",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := newAESGCM(unhex(t, v.key), aesgcm.VariantNoPrefix, 0)
			if err != nil {
				t.Fatal(err)
			}
			plain, err := p.Decrypt(unhex(t, v.iv+v.cipher+v.tag), unhex(t, v.aad))
			if err != nil || !bytes.Equal(plain, unhex(t, v.plain)) {
				t.Fatalf("Decrypt = %x, %v", plain, err)
			}
			if _, err := p.Decrypt(unhex(t, v.iv+v.cipher+v.tag), unhex(t, v.aad+"00")); err == nil {
				t.Fatal("opened with other associated data")
			}
		})
	}
}

// TestAbuse_196_HKDF is RFC 5869, appendix A.3 (no salt, no info).
func TestAbuse_196_HKDF(t *testing.T) {
	got, err := Derive(claviger.NewSecret(bytes.Repeat([]byte{0x0b}, 22)), "")
	if err != nil || hex.EncodeToString([]byte(reveal(got))) != "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d" {
		t.Fatalf("Derive = %x, %v", reveal(got), err)
	}
}

// TestAbuse_196_Ed25519 is RFC 8032, section 7.1, tests 1 and 2.
func TestAbuse_196_Ed25519(t *testing.T) {
	for _, v := range []struct{ public, message, sig string }{
		{
			"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
			"e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
		},
		{
			"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
			"92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
		},
	} {
		public, sig := unhex(t, v.public), unhex(t, v.sig)
		if !VerifySignature(public, unhex(t, v.message), sig) {
			t.Errorf("refused the signature of %q", v.message)
		}
		if VerifySignature(public, unhex(t, v.message+"00"), sig) || VerifySignature(public[1:], nil, sig) {
			t.Error("accepted another message or key")
		}
	}
}

// TestAbuse_196_HMACChain recomputes a link from RFC 2104 and RFC 5869 alone.
func TestAbuse_196_HMACChain(t *testing.T) {
	secret := bytes.Repeat([]byte{9}, 32)
	chain, err := NewChain(claviger.NewSecret(secret))
	if err != nil {
		t.Fatal(err)
	}
	mac := func(key, data []byte) []byte {
		var inner, outer [64]byte
		copy(inner[:], key)
		copy(outer[:], key)
		for i := range inner {
			inner[i] ^= 0x36
			outer[i] ^= 0x5c
		}
		first := sha256.Sum256(append(inner[:], data...))
		second := sha256.Sum256(append(outer[:], first[:]...))
		return second[:]
	}
	key := mac(mac(make([]byte, 32), secret), []byte("claviger/ledger/mac/v1\x01"))
	first := chain.Link(nil, []byte("entry 1"))
	if want := mac(key, []byte("\x00\x00\x00\x00entry 1")); !hmac.Equal(first, want) {
		t.Fatalf("Link = %x, want %x", first, want)
	}
	want := mac(key, append(append([]byte{0, 0, 0, 32}, first...), "entry 2"...))
	for range 2 {
		if got := chain.Link(first, []byte("entry 2")); !hmac.Equal(got, want) || !chain.Check(first, []byte("entry 2"), got) {
			t.Fatalf("Link = %x, want %x", got, want)
		}
	}
	if chain.Check(nil, []byte("entry 2"), want) || chain.Check(first, []byte("entry 3"), want) || chain.Check(first, []byte("entry 2"), want[:31]) {
		t.Fatal("a link fits another place")
	}
	if sig := chain.Sign([]byte("head")); !chain.Verify([]byte("head"), sig) || !VerifySignature(chain.PublicKey(), []byte("head"), sig) || chain.Verify([]byte("Head"), sig) {
		t.Fatal("the checkpoint's signature does not verify, or another's does")
	}
}

func TestDeriveRefusesShortSecrets(t *testing.T) {
	for _, s := range []claviger.Secret{{}, claviger.NewSecretString("short")} {
		if _, err := Derive(s, "x"); err == nil {
			t.Error("derived from a short secret")
		}
		if _, err := NewChain(s); err == nil {
			t.Error("a chain from a short secret")
		}
	}
}

func TestDeriveSeparatesLabels(t *testing.T) {
	secret := claviger.NewSecret(bytes.Repeat([]byte{1}, 32))
	a, _ := Derive(secret, "a")
	b, _ := Derive(secret, "b")
	if reveal(a) == reveal(b) || len(reveal(a)) != 32 {
		t.Fatal("labels share a key")
	}
}

// TestAbuse_196_GoldenV1 opens what the first release stored. If it fails, stored
// credentials of every installation are lost: fix the code, not the file.
func TestAbuse_196_GoldenV1(t *testing.T) {
	const file = "testdata/v1.golden"
	kek := newKEK(t, 0x42)
	if *update {
		k := newKeyset(t)
		wrapped, err := k.Wrap(t.Context(), kek, place.Organization)
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := SealCredentials(k, place, claviger.Credentials{
			"username": claviger.NewSecretString("ada"), "password": claviger.NewSecretString("pässword"), "empty": {},
		})
		if err != nil {
			t.Fatal(err)
		}
		text := hex.EncodeToString(wrapped) + "\n" + hex.EncodeToString(sealed) + "\n"
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(text))
	k, err := OpenKeyset(t.Context(), kek, place.Organization, unhex(t, lines[0]))
	if err != nil {
		t.Fatal(err)
	}
	c, err := OpenCredentials(k, place, unhex(t, lines[1]))
	if err != nil || len(c) != 3 || reveal(c["username"]) != "ada" || reveal(c["password"]) != "pässword" || !c["empty"].Empty() {
		t.Fatalf("OpenCredentials = %v, %v", c, err)
	}
}
