package inject

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"time"

	"claviger"
)

// Proof is what a request proves possession of a key with (RFC 9449, section 4).
type Proof struct {
	Key    claviger.Secret // a private JWK of P-256
	Access claviger.Secret // the access token that the request carries
	Nonce  string          // the server's last one; empty if it gave none
	ID     string          // "jti": new for each request, 96 bits at least
	At     time.Time
}

// Prove answers a copy of req with the DPoP header for its method and address, without
// query and fragment. The signature is deterministic (RFC 6979), so that the same proof
// of the same request is the same text. An unusable key is KindInternal with code
// credential_unreadable: it was made here.
func Prove(req *http.Request, p Proof) (*http.Request, error) {
	key, public, err := proofKey(p.Key)
	if err != nil {
		return nil, err
	}
	to := *req.URL
	to.RawQuery, to.ForceQuery, to.Fragment, to.RawFragment = "", false, "", ""
	hash := sha256.Sum256(reveal(p.Access))
	claims := map[string]any{
		"jti": p.ID, "htm": req.Method, "htu": to.String(), "iat": p.At.Unix(), "ath": base64.RawURLEncoding.EncodeToString(hash[:]),
	}
	if p.Nonce != "" {
		claims["nonce"] = p.Nonce
	}
	signed, err := signES256(key, map[string]any{"typ": "dpop+jwt", "alg": "ES256", "jwk": public}, claims)
	if err != nil {
		return nil, err
	}
	out := req.WithContext(req.Context())
	out.Header = req.Header.Clone()
	setHeader(out.Header, proofHeader, signed)
	return out, nil
}

// proofHeader carries a proof, in the spelling of net/http.
const proofHeader = "Dpop"

// proofKey reads a private JWK and its public part.
func proofKey(s claviger.Secret) (*ecdsa.PrivateKey, map[string]string, error) {
	unreadable := claviger.Errorf(claviger.KindInternal, "credential_unreadable", "The connection's proof key cannot be used. Connect it again.")
	var jwk struct{ Kty, Crv, X, Y, D string }
	if err := json.Unmarshal(reveal(s), &jwk); err != nil || jwk.Kty != "EC" || jwk.Crv != "P-256" {
		return nil, nil, unreadable
	}
	d, err := base64.RawURLEncoding.DecodeString(jwk.D)
	if err != nil {
		return nil, nil, unreadable
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d)
	if err != nil {
		return nil, nil, unreadable.With(err)
	}
	return key, map[string]string{"kty": "EC", "crv": "P-256", "x": jwk.X, "y": jwk.Y}, nil
}

// signES256 answers a compact JWS (RFC 7515; RFC 7518, section 3.4).
func signES256(key *ecdsa.PrivateKey, header, claims map[string]any) (string, error) {
	h, err := json.Marshal(header)
	if err != nil {
		return "", err
	}
	c, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(c)
	hash := sha256.Sum256([]byte(text))
	der, err := key.Sign(nil, hash[:], crypto.SHA256)
	if err != nil {
		return "", err
	}
	var pair struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &pair); err != nil {
		return "", err
	}
	signature := make([]byte, 64)
	pair.R.FillBytes(signature[:32])
	pair.S.FillBytes(signature[32:])
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// reveal answers the bytes of what is signed with or hashed.
func reveal(s claviger.Secret) (out []byte) {
	s.Use(func(b []byte) { out = append(out, b...) })
	return out
}
