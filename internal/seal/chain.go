package seal

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"sync"

	"claviger"
)

// minSecret is the least that a secret must have to derive keys from it.
const minSecret = 16

// Derive answers 32 bytes for one use, by HKDF-SHA256 (RFC 5869, no salt) with the
// label as info. Different labels give independent keys; the secret cannot be
// found from them.
func Derive(secret claviger.Secret, label string) (claviger.Secret, error) {
	var out claviger.Secret
	var err error
	secret.Use(func(b []byte) {
		if len(b) < minSecret {
			err = fmt.Errorf("seal: derive %s: the secret has less than %d bytes", label, minSecret)
			return
		}
		var key []byte
		if key, err = hkdf.Key(sha256.New, b, nil, label, sha256.Size); err == nil {
			out = claviger.NewSecret(key)
			clear(key)
		}
	})
	return out, err
}

// Chain is the keyed chain of the ledger: HMAC-SHA256 links that nobody can forge
// or repair without the secret, and Ed25519 signatures (RFC 8032) for checkpoints,
// which anybody can verify with the public key. The secret must not be in the
// database that the chain protects. A Chain may be shared.
type Chain struct {
	macs    sync.Pool // of hash.Hash, keyed
	signing ed25519.PrivateKey
}

// NewChain makes the chain of a secret of at least 32 bytes.
func NewChain(secret claviger.Secret) (*Chain, error) {
	mac, err := Derive(secret, "claviger/ledger/mac/v1")
	if err != nil {
		return nil, err
	}
	seed, err := Derive(secret, "claviger/ledger/sign/v1")
	if err != nil {
		return nil, err
	}
	c := &Chain{}
	seed.Use(func(b []byte) { c.signing = ed25519.NewKeyFromSeed(b) })
	c.macs.New = func() any {
		var h hash.Hash
		mac.Use(func(b []byte) { h = hmac.New(sha256.New, b) })
		return h
	}
	return c, nil
}

// Link answers the 32-byte code of entry at its place after the entry whose code is
// prev (empty for a stream's first): HMAC(len prev | prev | entry).
func (c *Chain) Link(prev, entry []byte) []byte {
	h := c.macs.Get().(hash.Hash)
	defer c.macs.Put(h)
	h.Reset()
	var size [4]byte
	binary.BigEndian.PutUint32(size[:], uint32(len(prev)))
	h.Write(size[:])
	h.Write(prev)
	h.Write(entry)
	return h.Sum(make([]byte, 0, sha256.Size))
}

// Check reports whether code is what Link answers, in constant time.
func (c *Chain) Check(prev, entry, code []byte) bool {
	return hmac.Equal(c.Link(prev, entry), code)
}

// Sign answers the Ed25519 signature of b.
func (c *Chain) Sign(b []byte) []byte { return ed25519.Sign(c.signing, b) }

// Verify reports whether sig is this chain's signature of b.
func (c *Chain) Verify(b, sig []byte) bool {
	return VerifySignature(c.signing.Public().(ed25519.PublicKey), b, sig)
}

// PublicKey answers the 32 bytes that verify signatures; keep a copy outside.
func (c *Chain) PublicKey() []byte {
	return append([]byte(nil), c.signing.Public().(ed25519.PublicKey)...)
}

// VerifySignature reports whether sig is the signature of b by the holder of the
// public key.
func VerifySignature(publicKey, b, sig []byte) bool {
	return len(publicKey) == ed25519.PublicKeySize && ed25519.Verify(publicKey, b, sig)
}
