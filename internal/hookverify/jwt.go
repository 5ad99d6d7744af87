package hookverify

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// clockSkew is what a token's times may be off.
const clockSkew = time.Minute

// signedToken is a token and its text.
type signedToken struct {
	*jose.JSONWebSignature
	text string
}

// maxTokens bounds the tokens of one delivery.
const maxTokens = 50

// tokens answers the signed tokens of a delivery, not yet verified. The algorithm is one
// of the scheme's; keys and addresses in a token's header (jwk, jku, x5c, x5u) are not
// looked at.
func (s *Scheme) tokens(r *reading) ([]signedToken, error) {
	texts, err := s.carried(r)
	if err != nil {
		return nil, err
	}
	if len(texts) > maxTokens {
		return nil, refuse(CodeSignatureMalformed, "The delivery lists more than %d tokens.", maxTokens)
	}
	var algorithms []jose.SignatureAlgorithm
	for _, a := range s.doc.Algorithms {
		algorithms = append(algorithms, jose.SignatureAlgorithm(a))
	}
	var out []signedToken
	for _, text := range texts {
		token, err := jose.ParseSignedCompact(string(text), algorithms)
		if err != nil || len(token.Signatures) != 1 {
			return nil, refuse(CodeSignatureMalformed, "The token in the delivery's %s is not one signed with %s.", s.from, strings.Join(s.doc.Algorithms, ", "))
		}
		out = append(out, signedToken{token, string(text)})
	}
	return out, nil
}

// provenByToken authenticates a request by its token, or by each of them.
func (s *Scheme) provenByToken(r *reading, keys []Key, now time.Time) (proof, error) {
	tokens, err := s.tokens(r)
	if err != nil {
		return proof{}, err
	}
	var out proof
	for _, token := range tokens {
		p, ok := verifyToken(token, keys)
		if !ok {
			return proof{}, refuse(CodeSignatureMismatch, "The token in the delivery's %s is not signed by a known key.", s.from)
		}
		if p.claims, err = s.checkClaims(r, p.payload, now); err != nil {
			return proof{}, err
		}
		p.payload = append(out.payload, p.payload...)
		out = p
	}
	return out, nil
}

// verifyToken looks for the key that signed a token. The key decides which algorithms
// it is good for: a public key is never the secret of an HMAC.
func verifyToken(token signedToken, keys []Key) (proof, bool) {
	head := token.Signatures[0].Header
	for _, k := range keys {
		if k.kid != "" && head.KeyID != "" && k.kid != head.KeyID || !goodFor(k, head.Algorithm) {
			continue
		}
		if k.public != nil {
			if payload, err := token.Verify(k.public); err == nil {
				return proof{key: k, payload: payload}, true
			}
			continue
		}
		if token.verifyHMAC(k, head.Algorithm) {
			return proof{key: k, payload: token.UnsafePayloadWithoutVerification()}, true
		}
	}
	return proof{}, false
}

// verifyHMAC verifies a token of HS256 and its kin (RFC 7518, section 3.2). The library
// refuses secrets that are shorter than the hash, and vendors give such.
func (t signedToken) verifyHMAC(k Key, algorithm string) bool {
	sizes := map[string]crypto.Hash{"HS256": crypto.SHA256, "HS384": crypto.SHA384, "HS512": crypto.SHA512}
	hash, ok := sizes[algorithm]
	if !ok {
		return false
	}
	var want []byte
	k.secret.Use(func(secret []byte) {
		mac := hmac.New(hash.New, secret)
		_, _ = mac.Write([]byte(t.text[:strings.LastIndexByte(t.text, '.')]))
		want = mac.Sum(nil)
	})
	return hmac.Equal(t.Signatures[0].Signature, want)
}

func goodFor(k Key, algorithm string) bool {
	switch k.public.(type) {
	case nil:
		return strings.HasPrefix(algorithm, "HS")
	case *rsa.PublicKey:
		return strings.HasPrefix(algorithm, "RS") || strings.HasPrefix(algorithm, "PS")
	case *ecdsa.PublicKey:
		return strings.HasPrefix(algorithm, "ES")
	case ed25519.PublicKey:
		return algorithm == "EdDSA"
	}
	return false
}

// checkClaims checks what a token says (RFC 7519, section 4.1) and answers it.
func (s *Scheme) checkClaims(r *reading, payload []byte, now time.Time) (map[string]any, error) {
	tree, err := parseJSON(payload)
	claims, ok := tree.(map[string]any)
	if err != nil || !ok {
		return nil, refuse(CodeClaims, "The claims of the delivery's token cannot be read.")
	}
	rule := s.doc.Claims
	expires, hasExpiry := claims["exp"]
	before, hasBefore := claims["nbf"]
	switch {
	case rule.Expiry && !hasExpiry:
		return nil, refuse(CodeClaims, "The delivery's token never expires.")
	case hasExpiry && !claimTime(expires, func(at time.Time) bool { return now.Add(-clockSkew).Before(at) }):
		return nil, refuse(CodeClaims, "The delivery's token has expired.")
	case hasBefore && !claimTime(before, func(at time.Time) bool { return !now.Add(clockSkew).Before(at) }):
		return nil, refuse(CodeClaims, "The delivery's token is not valid yet.")
	case len(rule.Issuer) > 0 && !slices.Contains(rule.Issuer, claimText(claims, "iss")):
		return nil, refuse(CodeClaims, "The delivery's token is of another issuer.")
	case rule.Audience != "" && !hasAudience(claims["aud"], rule.Audience):
		return nil, refuse(CodeClaims, "The delivery's token is for another audience.")
	}
	for name, want := range rule.Equals {
		if claimText(claims, name) != want {
			return nil, refuse(CodeClaims, "The %s of the delivery's token is another one.", name)
		}
	}
	anyOf := len(rule.AnyEquals) == 0
	for name, want := range rule.AnyEquals {
		anyOf = anyOf || claimText(claims, name) == want
	}
	if !anyOf {
		return nil, refuse(CodeClaims, "The delivery's token was made for another application.")
	}
	return claims, s.checkHashes(r, claims)
}

// checkHashes checks the claims that bind a token to the body and to the address.
func (s *Scheme) checkHashes(r *reading, claims map[string]any) error {
	for _, bound := range []struct {
		rule *claimHash
		what string
		over []byte
	}{
		{s.doc.Claims.BodyHash, "body", r.req.Body},
		{s.doc.Claims.URLHash, "address", []byte(r.req.URL)},
	} {
		if bound.rule == nil {
			continue
		}
		got := claimText(claims, bound.rule.Claim)
		if got == "" && bound.rule.OptionalIfEmpty && len(bound.over) == 0 {
			continue
		}
		sum := sha256.Sum256(bound.over)
		want := hex.EncodeToString(sum[:])
		if bound.rule.Encoding == "base64" {
			want = base64.StdEncoding.EncodeToString(sum[:])
		}
		if !equalText(got, want) {
			return refuse(CodeClaims, "The delivery's token was made for another %s.", bound.what)
		}
	}
	return nil
}

func claimText(claims map[string]any, name string) string {
	text, _ := scalar(claims[name])
	return text
}

// claimTime reports whether a claim is a number of seconds that passes the test.
func claimTime(claim any, test func(time.Time) bool) bool {
	text, _ := scalar(claim)
	n, err := strconv.ParseFloat(text, 64)
	return err == nil && n > 0 && n <= maxSeconds && test(time.Unix(int64(n), 0))
}

func hasAudience(claim any, want string) bool {
	if list, ok := claim.([]any); ok {
		return slices.Contains(list, any(want))
	}
	return claim == any(want)
}
