package oauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"claviger"
)

// The bounds of id tokens and key sets.
const (
	maxKeys     = 100
	maxSubject  = 255 // OpenID Connect Core, section 2
	clockLeeway = time.Minute
	maxTokenAge = 24 * time.Hour // of an id token at the moment of connecting
)

// KeySet is a vendor's public keys. The zero KeySet has none.
type KeySet struct{ keys []jose.JSONWebKey }

// Len answers how many keys are usable.
func (k KeySet) Len() int { return len(k.keys) }

// IDClaims are what a valid id token says.
type IDClaims struct {
	Subject     string
	Name, Email string
	Claims      map[string]any // of encoding/json, numbers as json.Number
}

// Keys fetches the vendor's key set (RFC 7517): public keys for signatures, at most
// 100; whatever else is in it is passed over.
func (c *Client) Keys(ctx context.Context, cfg Config) (KeySet, error) {
	raw, err := c.send(ctx, cfg, claviger.OAuthClient{}, call{endpoint: cfg.Endpoints.Keys, method: http.MethodGet, format: "none"}).settled()
	if err != nil {
		return KeySet{}, err
	}
	if err := classify(cfg, raw, "$.keys").Err(); err != nil {
		return KeySet{}, err
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	body, err := raw.inflate()
	if err != nil || json.Unmarshal(body, &set) != nil {
		return KeySet{}, errBadResponse()
	}
	var out KeySet
	for _, b := range set.Keys[:min(len(set.Keys), maxKeys)] {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(b) == nil && verifies(key) {
			out.keys = append(out.keys, key)
		}
	}
	return out, nil
}

// verifies reports whether a key may check a signature here.
func verifies(key jose.JSONWebKey) bool {
	if !key.IsPublic() || key.Use != "" && key.Use != "sig" {
		return false
	}
	switch k := key.Key.(type) {
	case *rsa.PublicKey:
		return k.N.BitLen() >= minRSA
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false
}

func errIDToken(why string) *claviger.Error {
	return claviger.Errorf(claviger.KindUpstream, "invalid_id_token", "The vendor's id token is refused: %s.", why)
}

// VerifyIDToken checks an id token (OpenID Connect Core, section 3.1.3.7): signed with
// one of the keys by an asymmetric algorithm of our list, whatever its header asks
// for; from the configured issuer, for this client, not expired, not older than a day
// or from the future, and with the nonce of its flow. nonce is empty where none was
// sent, as after a refresh. Errors are *claviger.Error with code "invalid_id_token".
func (c *Client) VerifyIDToken(cfg Config, client claviger.OAuthClient, keys KeySet, token claviger.Secret, nonce string) (IDClaims, error) {
	text := reveal(token)
	if len(text) == 0 || len(text) > maxIDToken {
		return IDClaims{}, errIDToken("it is missing or too long")
	}
	signed, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
	})
	if err != nil {
		return IDClaims{}, errIDToken("it is malformed or signed by an algorithm that is not accepted")
	}
	payload, ok := keys.verify(signed)
	if !ok {
		return IDClaims{}, errIDToken("its signature fits none of the vendor's keys")
	}
	tree, err := readJSON(payload)
	if err != nil {
		return IDClaims{}, errIDToken("its claims are not readable")
	}
	return c.checkClaims(cfg, client, tree, nonce)
}

func (k KeySet) verify(signed *jose.JSONWebSignature) (payload []byte, ok bool) {
	header := signed.Signatures[0].Protected
	for _, key := range k.keys {
		if header.KeyID != "" && key.KeyID != "" && header.KeyID != key.KeyID || key.Algorithm != "" && key.Algorithm != header.Algorithm {
			continue
		}
		if payload, err := signed.Verify(key.Key); err == nil {
			return payload, true
		}
	}
	return nil, false
}

func (c *Client) checkClaims(cfg Config, client claviger.OAuthClient, tree any, nonce string) (IDClaims, error) {
	claims, ok := tree.(map[string]any)
	if !ok {
		return IDClaims{}, errIDToken("its claims are not readable")
	}
	now := c.Now()
	expires, hasExpiry := claimTime(tree, "$.exp")
	issued, hasIssue := claimTime(tree, "$.iat")
	audience := listed(tree, "$.aud")
	if one := text(tree, "$.aud"); one != "" {
		audience = []string{one}
	}
	azp, hasAzp := find(tree, "$.azp")
	subject := text(tree, "$.sub")
	switch {
	case cfg.Issuer == "" || text(tree, "$.iss") != cfg.Issuer:
		return IDClaims{}, errIDToken("it comes from another issuer")
	case client.ID == "" || !slices.Contains(audience, client.ID):
		return IDClaims{}, errIDToken("it is for another client")
	case hasAzp && azp != client.ID || len(audience) > 1 && !hasAzp:
		return IDClaims{}, errIDToken("it was given to another client")
	case !hasExpiry || !now.Before(expires.Add(clockLeeway)):
		return IDClaims{}, errIDToken("it has expired")
	case !hasIssue || issued.After(now.Add(clockLeeway)) || now.Sub(issued) > maxTokenAge:
		return IDClaims{}, errIDToken("it was not issued just now")
	case nonce != "" && subtle.ConstantTimeCompare([]byte(text(tree, "$.nonce")), []byte(nonce)) != 1:
		return IDClaims{}, errIDToken("it belongs to another flow")
	case subject == "" || len(subject) > maxSubject:
		return IDClaims{}, errIDToken("it names nobody")
	}
	return IDClaims{Subject: subject, Name: plain(text(tree, "$.name")), Email: plain(text(tree, "$.email")), Claims: claims}, nil
}

// Fits checks that an access token came with the id token (OpenID Connect Core, section
// 3.1.3.6), if that says so: its at_hash is half of a hash whose length is the
// algorithm's. Errors are *claviger.Error with code "invalid_id_token".
func (c IDClaims) Fits(access claviger.Secret) error {
	said, there := c.Claims["at_hash"]
	if !there {
		return nil
	}
	text, _ := said.(string)
	want, err := base64.RawURLEncoding.DecodeString(text)
	var sum []byte
	switch token := []byte(reveal(access)); len(want) {
	case sha256.Size / 2:
		whole := sha256.Sum256(token)
		sum = whole[:len(want)]
	case sha512.Size384 / 2:
		whole := sha512.Sum384(token)
		sum = whole[:len(want)]
	case sha512.Size / 2:
		whole := sha512.Sum512(token)
		sum = whole[:len(want)]
	}
	if err != nil || sum == nil || subtle.ConstantTimeCompare(sum, want) != 1 {
		return errIDToken("it came with another access token")
	}
	return nil
}

// claimTime reads a NumericDate (RFC 7519, section 2): seconds, a number and no string.
func claimTime(tree any, path string) (time.Time, bool) {
	v, _ := find(tree, path)
	n, ok := v.(json.Number)
	if !ok {
		return time.Time{}, false
	}
	seconds, err := n.Float64()
	if err != nil || seconds < 0 || seconds > 1e11 {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(seconds * 1000)), true
}
