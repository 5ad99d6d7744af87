package hookverify

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	_ "crypto/sha1" // vendors' HMACs and hashes: the scheme says which
	"crypto/sha256"
	_ "crypto/sha512" // the same
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"

	"claviger"
)

// maxSignatures bounds the signatures that one delivery may list.
const maxSignatures = 20

// carried answers the signatures of a delivery, decoded, and reads the timestamp and the
// key's name where they stand beside them. For tokens and Basic it answers the text.
func (s *Scheme) carried(r *reading) ([][]byte, error) {
	var found [][]byte
	present := false
	for _, at := range s.places() {
		values, err := r.all(at)
		if errors.Is(err, errAbsent) {
			continue
		}
		if err != nil {
			return nil, refuse(CodeSignatureMalformed, "The delivery's %s %v.", at, err)
		}
		if len(values) > 1 && !strings.Contains(at.name, "*") {
			return nil, refuse(CodeSignatureMalformed, "The delivery's %s is there more than once.", at)
		}
		for _, v := range values {
			if v == "" {
				continue
			}
			present = true
			signatures, err := s.entries(r, v)
			if err != nil {
				return nil, err
			}
			found = append(found, signatures...)
		}
	}
	switch {
	case !present:
		return nil, refuse(CodeSignatureMissing, "The delivery has no %s.", s.from)
	case len(found) == 0:
		return nil, refuse(CodeSignatureMalformed, "The delivery's %s has no signature that begins with %q.", s.from, s.doc.Signature.Prefix)
	case len(found) > maxSignatures && !strings.Contains(s.from.name, "*"):
		return nil, refuse(CodeSignatureMalformed, "The delivery lists more than %d signatures.", maxSignatures)
	}
	return found, nil
}

// places answers where signatures may stand.
func (s *Scheme) places() []ref {
	out := append([]ref{s.from}, s.also...)
	for i := 2; i <= s.doc.Signature.Numbered; i++ {
		out = append(out, ref{source: s.from.source, name: strings.TrimSuffix(s.from.name, "1") + strconv.Itoa(i)})
	}
	return out
}

// entries answers the signatures of one value. What has another prefix, an older version
// for example, is passed over and proves nothing.
func (s *Scheme) entries(r *reading, value string) ([][]byte, error) {
	g := s.doc.Signature
	parts := []string{value}
	if g.Separator != "" {
		parts = strings.Split(value, g.Separator)
	}
	var out [][]byte
	for _, part := range parts {
		part = strings.TrimPrefix(part, " ")
		if g.Timestamp != "" {
			if stamp, ok := strings.CutPrefix(part, g.Timestamp); ok {
				if r.stamp != "" || stamp == "" {
					return nil, refuse(CodeTimestamp, "The delivery's %s must have one timestamp.", s.from)
				}
				r.stamp = stamp
				continue
			}
		}
		encoded, ok := cutPrefix(part, g.Prefix, s.Kind == KindBasic || s.Kind == KindToken || s.Kind == KindJWT)
		if !ok {
			continue
		}
		raw, err := s.decodeSignature(r, encoded)
		if err != nil {
			return nil, err
		}
		out = append(out, raw)
	}
	if g.Timestamp != "" && r.stamp == "" {
		return nil, refuse(CodeTimestamp, "The delivery's %s has no timestamp.", s.from)
	}
	return out, nil
}

// cutPrefix takes a prefix off; that of an Authorization header in any case of letters.
func cutPrefix(s, prefix string, fold bool) (string, bool) {
	if fold && len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
		return s[len(prefix):], true
	}
	return strings.CutPrefix(s, prefix)
}

// decodeSignature reads a signature strictly, so that each has one text: hex in lower
// case, base64 with its padding and nothing behind it, base64url without.
func (s *Scheme) decodeSignature(r *reading, text string) ([]byte, error) {
	g := s.doc.Signature
	if g.Envelope {
		raw, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil {
			return nil, refuse(CodeSignatureMalformed, "The delivery's %s cannot be read.", s.from)
		}
		inside := &reading{scheme: s, req: &Request{Body: raw}}
		sig, errSig := inside.one(ref{source: "json", name: "signature"})
		if r.keyID, err = inside.one(ref{source: "json", name: "kid"}); err != nil || errSig != nil {
			return nil, refuse(CodeSignatureMalformed, "The delivery's %s cannot be read.", s.from)
		}
		text = sig
	}
	raw, ok := decodeStrict(text, g.Encoding)
	if !ok || len(raw) == 0 || s.Kind == KindHMAC && len(raw) != s.hash.Size() {
		return nil, refuse(CodeSignatureMalformed, "The delivery's %s is not a signature of this kind in %s.", s.from, g.Encoding)
	}
	return raw, nil
}

func decodeStrict(text, encoding string) ([]byte, bool) {
	var raw []byte
	var err error
	switch encoding {
	case "hex":
		raw, err = hex.DecodeString(text)
		return raw, err == nil && strings.ToLower(text) == text
	case "base64":
		raw, err = base64.StdEncoding.Strict().DecodeString(text)
	case "base64url":
		raw, err = base64.RawURLEncoding.Strict().DecodeString(text)
	default:
		return []byte(text), true
	}
	return raw, err == nil && !strings.ContainsAny(text, "\r\n")
}

// matches reports whether one of the signatures is right under the key.
func (s *Scheme) matches(r *reading, k Key, found [][]byte) (bool, error) {
	switch s.Kind {
	case KindHMAC, KindHash:
		want, err := s.sum(r, k)
		return anyEqual(found, want), err
	case KindToken:
		return allTokens(k.secret, found), nil
	case KindBasic:
		return basicEqual(k.secret, found), nil
	}
	var message bytes.Buffer
	if err := s.signed.write(&message, r, nil); err != nil {
		return false, err
	}
	return slices.ContainsFunc(found, func(raw []byte) bool { return s.verifyPublic(k.public, message.Bytes(), raw) }), nil
}

// sum answers the HMAC or the hash that the delivery should carry.
func (s *Scheme) sum(r *reading, k Key) (sum []byte, err error) {
	k.secret.Use(func(secret []byte) {
		if s.Kind == KindHash {
			h := s.hash.New()
			err = s.signed.write(h, r, secret)
			sum = h.Sum(nil)
			return
		}
		mac := hmac.New(s.hash.New, secret)
		err = s.signed.write(mac, r, nil)
		sum = mac.Sum(nil)
	})
	return sum, err
}

func anyEqual(found [][]byte, want []byte) bool {
	ok := 0
	for _, raw := range found {
		ok |= subtle.ConstantTimeCompare(raw, want)
	}
	return ok == 1
}

// allTokens compares texts with the secret over their hashes, which hides its length. A
// batch carries the token in each of its elements, and each must be right.
func allTokens(secret claviger.Secret, found [][]byte) bool {
	ok := 1
	secret.Use(func(b []byte) {
		want := sha256.Sum256(b)
		for _, text := range found {
			got := sha256.Sum256(text)
			ok &= subtle.ConstantTimeCompare(got[:], want[:])
		}
	})
	return ok == 1 && len(found) > 0
}

func equalText(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// basicEqual compares the credentials of RFC 7617.
func basicEqual(secret claviger.Secret, found [][]byte) bool {
	decoded := make([][]byte, len(found)) // another key will look at what was found
	for i, text := range found {
		encoded, ok := cutPrefix(string(text), "Basic ", true)
		raw, err := base64.StdEncoding.DecodeString(encoded)
		if !ok || err != nil {
			return false
		}
		decoded[i] = raw
	}
	return allTokens(secret, decoded)
}

// verifyPublic verifies a signature of the scheme's kind.
func (s *Scheme) verifyPublic(public crypto.PublicKey, message, raw []byte) bool {
	digest := message
	if s.hash != 0 {
		h := s.hash.New()
		_, _ = h.Write(message)
		digest = h.Sum(nil)
	}
	switch key := public.(type) {
	case *rsa.PublicKey:
		return s.Kind == KindRSA && rsa.VerifyPKCS1v15(key, s.hash, digest, raw) == nil
	case *ecdsa.PublicKey:
		return s.Kind == KindECDSA && ecdsa.VerifyASN1(key, digest, raw)
	case ed25519.PublicKey:
		return s.Kind == KindEd25519 && ed25519.Verify(key, message, raw)
	}
	return false
}
