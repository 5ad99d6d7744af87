package certify_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"claviger"
	"claviger/internal/certify"
)

func newKey(t testing.TB) claviger.Secret {
	t.Helper()
	key, err := certify.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func signed(t testing.TB, key claviger.Secret, hash claviger.Contract) certify.Certificate {
	t.Helper()
	c, err := certify.Sign(key, certify.Statement{
		Issuer: "https://claviger.example", SystemKey: "crm", Version: "3", ContractHash: hash.String(), Status: "passed", Level: "GOLD",
		IssuedAt: time.Unix(1700000000, 123456789), Checks: []certify.Check{{Level: "BRONZE", Name: "manifest", Status: "passed"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// through answers the certificate as it comes back from a file.
func through(t testing.TB, c certify.Certificate) certify.Certificate {
	t.Helper()
	text, err := json.MarshalIndent(c, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	out, err := certify.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func code(err error) string {
	var e *claviger.Error
	if !errors.As(err, &e) {
		return ""
	}
	return e.FineCode()
}

func TestCertificate(t *testing.T) {
	hash := claviger.Contract{1, 2, 3}
	key := newKey(t)
	good := signed(t, key, hash)
	other := signed(t, newKey(t), hash)
	for name, x := range map[string]struct {
		change  func(*certify.Certificate)
		hash    claviger.Contract
		trusted string
		want    string
	}{
		"as signed":             {hash: hash},
		"by the trusted key":    {hash: hash, trusted: good.PublicKeyFingerprint},
		"by another key":        {hash: hash, trusted: other.PublicKeyFingerprint, want: certify.CodeForeign},
		"another manifest":      {hash: claviger.Contract{1, 2, 4}, want: certify.CodeManifest},
		"a better level":        {change: func(c *certify.Certificate) { c.Level = "PLATINUM" }, hash: hash, want: certify.CodeInvalid},
		"another system":        {change: func(c *certify.Certificate) { c.SystemKey = "erp" }, hash: hash, want: certify.CodeInvalid},
		"another check":         {change: func(c *certify.Certificate) { c.Checks[0].Status = "failed" }, hash: hash, want: certify.CodeInvalid},
		"another key beside it": {change: func(c *certify.Certificate) { c.PublicKey = other.PublicKey }, hash: hash, want: certify.CodeInvalid},
		"another key entirely": {change: func(c *certify.Certificate) {
			c.PublicKey, c.PublicKeyFingerprint = other.PublicKey, other.PublicKeyFingerprint
		}, hash: hash, want: certify.CodeInvalid},
		"the hash of the new manifest": {change: func(c *certify.Certificate) { c.ContractHash = claviger.Contract{9}.String() }, hash: claviger.Contract{9}, want: certify.CodeInvalid},
		"no algorithm": {change: func(c *certify.Certificate) {
			_, rest, _ := strings.Cut(c.Signature, ".")
			c.Signature = base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + rest
		}, hash: hash, want: certify.CodeInvalid},
		"no signature": {change: func(c *certify.Certificate) { c.Signature = c.Signature[:strings.LastIndexByte(c.Signature, '.')+1] }, hash: hash, want: certify.CodeInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			c := through(t, good)
			if x.change != nil {
				x.change(&c)
			}
			for range 2 {
				if err := c.Verify(x.hash, x.trusted); code(err) != x.want || (err == nil) != (x.want == "") {
					t.Errorf("%v, want %q", err, x.want)
				}
			}
		})
	}
	if err := good.Verify(claviger.Contract{7}, ""); err == nil || !strings.Contains(err.Error(), hash.String()) || !strings.Contains(err.Error(), claviger.Contract{7}.String()) {
		t.Errorf("both hashes are to be named: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	text, err := json.Marshal(signed(f, newKey(f), claviger.Contract{}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"signature":".."}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := certify.Read(text)
		if err == nil && c.Verify(claviger.Contract{1}, "") == nil {
			t.Errorf("believed: %s", text)
		}
	})
}
