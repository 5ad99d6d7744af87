package oauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"claviger"
)

// Assertion is a statement that a private key signs (RFC 7523, section 3).
type Assertion struct {
	Issuer, Subject, Audience string
	// Claims are further ones, for example Google's "scope". They replace none of the
	// above.
	Claims   map[string]any
	Key      claviger.Secret // PEM (PKCS #8, PKCS #1, SEC 1) or a JWK
	KeyID    string          // "kid", where the key is PEM
	IssuedAt time.Time       // now if zero
	Lifetime time.Duration   // one hour at most, and if zero
}

const maxAssertion = time.Hour

// SignAssertion answers the assertion as a compact JWS with a new id. The algorithm
// goes by the key: RS256, ES256/384/512 or EdDSA, or the JWK's own "alg" of these or
// PS256. An unusable key is an *Error of KindInvalid with Param "privateKey".
func (c *Client) SignAssertion(a Assertion) (string, error) {
	if a.IssuedAt.IsZero() {
		a.IssuedAt = c.Now()
	}
	if a.Lifetime <= 0 || a.Lifetime > maxAssertion {
		a.Lifetime = maxAssertion
	}
	id, err := c.random(20)
	if err != nil {
		return "", err
	}
	claims := map[string]any{}
	maps.Copy(claims, a.Claims)
	for name, value := range map[string]string{"iss": a.Issuer, "sub": a.Subject, "aud": a.Audience, "jti": id} {
		if delete(claims, name); value != "" {
			claims[name] = value
		}
	}
	claims["iat"] = a.IssuedAt.Unix()
	claims["exp"] = a.IssuedAt.Add(a.Lifetime).Unix()
	key, err := readKey(a.Key, a.KeyID)
	if err != nil {
		return "", err
	}
	return sign(key, claims, (&jose.SignerOptions{}).WithType("JWT"))
}

func sign(key jose.JSONWebKey, claims map[string]any, options *jose.SignerOptions) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(key.Algorithm), Key: key}, options)
	if err != nil {
		return "", errKey()
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", claviger.AsError(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", errKey()
	}
	return signed.CompactSerialize()
}

func errKey() *claviger.Error {
	return claviger.Invalid("privateKey", "invalid_format", "The private key cannot be used. Give an RSA (2048 bits or more), EC (P-256, P-384, P-521) or Ed25519 key as PEM or as a JWK.")
}

// minRSA is the shortest RSA key that is still worth signing with, in bits.
const minRSA = 2048

// readKey reads a private key and fixes its algorithm.
func readKey(s claviger.Secret, id string) (jose.JSONWebKey, error) {
	text := strings.TrimSpace(reveal(s))
	key := jose.JSONWebKey{KeyID: id}
	if strings.HasPrefix(text, "{") {
		if err := key.UnmarshalJSON([]byte(text)); err != nil {
			return key, errKey()
		}
		key.KeyID = orElse(key.KeyID, id)
	} else if key.Key = readPEM(text); key.Key == nil {
		return key, errKey()
	}
	allowed := algorithms(key.Key)
	if key.IsPublic() || len(allowed) == 0 {
		return key, errKey()
	}
	if key.Algorithm == "" {
		key.Algorithm = allowed[0]
	}
	for _, a := range allowed {
		if a == key.Algorithm {
			key.Certificates, key.CertificateThumbprintSHA1, key.CertificateThumbprintSHA256 = nil, nil, nil
			return key, nil
		}
	}
	return key, errKey()
}

func readPEM(text string) any {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil
	}
	if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		return key
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key
	}
	return nil
}

// algorithms answers what a private key may sign with, the usual one first.
func algorithms(key any) []string {
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if key.N.BitLen() >= minRSA {
			return []string{string(jose.RS256), string(jose.PS256)}
		}
	case *ecdsa.PrivateKey:
		switch key.Curve.Params().BitSize {
		case 256:
			return []string{string(jose.ES256)}
		case 384:
			return []string{string(jose.ES384)}
		case 521:
			return []string{string(jose.ES512)}
		}
	case ed25519.PrivateKey:
		return []string{string(jose.EdDSA)}
	}
	return nil
}

// random answers n random bytes as base64url.
func (c *Client) random(n int) (string, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(c.Random, b); err != nil {
		return "", claviger.Errorf(claviger.KindUnavailable, "", "No randomness is to be had at the moment. Try again.").With(err)
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// thumbprint answers a public key's thumbprint (RFC 7638).
func thumbprint(key jose.JSONWebKey) (string, error) {
	public := key.Public()
	sum, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", errKey()
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}
