package oauth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"net/url"

	"github.com/go-jose/go-jose/v4"

	"claviger"
)

// maxNonce caps a nonce that a server gives us.
const maxNonce = 512

// Proof is what a request needs to prove possession of a key (RFC 9449). Nonce is the
// last one that this server gave, if any.
type Proof struct {
	Key   claviger.Secret // a private JWK, as NewProofKey makes it
	Nonce string
}

// NewProofKey makes the key of one connection, a private JWK of P-256. It must be
// kept, sealed, as long as the tokens that are bound to it.
func (c *Client) NewProofKey() (claviger.Secret, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), c.Random)
	if err != nil {
		return claviger.Secret{}, claviger.AsError(err)
	}
	b, err := jose.JSONWebKey{Key: key, Algorithm: string(jose.ES256)}.MarshalJSON()
	if err != nil {
		return claviger.Secret{}, claviger.AsError(err)
	}
	return claviger.NewSecret(b), nil
}

// Thumbprint answers the thumbprint of a proof key (RFC 7638): "jkt" in tokens, and
// dpop_jkt in an authorization request.
func Thumbprint(key claviger.Secret) (string, error) {
	k, err := readKey(key, "")
	if err != nil {
		return "", err
	}
	return thumbprint(k)
}

// Prove answers the DPoP header for one request: a proof with a new id for this
// method and address, bound to the access token if one is sent (RFC 9449, section 4.2).
func (c *Client) Prove(p Proof, method, target string, access claviger.Secret) (string, error) {
	key, err := readKey(p.Key, "")
	if err != nil {
		return "", err
	}
	u, err := url.Parse(target)
	if err != nil {
		return "", badEndpoint()
	}
	u.RawQuery, u.ForceQuery, u.Fragment = "", false, ""
	id, err := c.random(20)
	if err != nil {
		return "", err
	}
	claims := map[string]any{"jti": id, "htm": method, "htu": u.String(), "iat": c.Now().Unix()}
	if p.Nonce != "" {
		claims["nonce"] = p.Nonce
	}
	if !access.Empty() {
		hash := sha256.Sum256([]byte(reveal(access)))
		claims["ath"] = base64.RawURLEncoding.EncodeToString(hash[:])
	}
	key.KeyID = ""
	return sign(key, claims, (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt"))
}
