package hookverify

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"strings"
	"unicode"
	"unicode/utf8"

	"claviger"
)

// MinKey is the least length of a key in bytes, after decoding, without the zeros at its
// end. Shorter ones can be
// guessed, and the empty one verifies what anybody signs.
const MinKey = 8

// MaxKeys bounds the keys of one verification: the current one, the next, and some of a
// vendor's published set.
const MaxKeys = 16

// Key is a value that can verify a scheme's deliveries. The zero Key verifies nothing,
// and there is no other way to one than the checks of [Scheme.NewKey] and its siblings.
type Key struct {
	id     string
	kid    string // the vendor's name of a published key
	scheme string
	secret claviger.Secret // what is left after decoding; empty for a public key
	public crypto.PublicKey
}

// ID answers the name that the key was made with.
func (k Key) ID() string { return k.id }

func (k Key) usable(s *Scheme) bool {
	return k.scheme == s.Key && (k.public != nil || !k.secret.Empty())
}

func errKey(format string, args ...any) *claviger.Error {
	return claviger.Errorf(claviger.KindUnauthenticated, CodeNotConfigured, format, args...)
}

// NewKey makes a key from what a slot keeps: the shared secret, or the vendor's public
// key as PEM, base64 or hex. The id is what a [Verdict] will name; it is no secret.
//
// A value that is empty, blank, a placeholder, shorter than [MinKey] bytes or not in the
// scheme's encoding is refused with [CodeNotConfigured].
func (s *Scheme) NewKey(id string, secret claviger.Secret) (Key, error) {
	k := Key{id: id, scheme: s.Key}
	var fault *claviger.Error
	secret.Use(func(b []byte) { fault = s.fillKey(&k, b) })
	if fault != nil {
		return Key{}, fault
	}
	return k, nil
}

// NewBasicKey makes the key of a scheme of [KindBasic].
func (s *Scheme) NewBasicKey(id string, user, password claviger.Secret) (Key, error) {
	var joined []byte
	var fault *claviger.Error
	user.Use(func(u []byte) {
		if len(u) == 0 || bytes.IndexByte(u, ':') >= 0 {
			fault = errKey("The user name of the webhook is empty or has a colon in it.")
		}
		password.Use(func(p []byte) {
			if fault == nil {
				fault = checkText(p)
			}
			joined = append(append(append(joined, u...), ':'), p...)
		})
	})
	if fault != nil {
		return Key{}, fault
	}
	return s.NewKey(id, claviger.NewSecret(joined))
}

func (s *Scheme) fillKey(k *Key, given []byte) *claviger.Error {
	if fault := checkText(given); fault != nil {
		return fault
	}
	switch s.Kind {
	case KindCertificate:
		return errKey("The webhook scheme %s has no secret: it is proven by a TLS certificate.", s.Key)
	case KindRSA, KindECDSA, KindEd25519:
		return s.publicKey(k, given)
	case KindJWT:
		if !s.symmetric() || bytes.Contains(given, []byte("-----BEGIN")) {
			return s.publicKey(k, given)
		}
	case KindBasic:
		if user, password, ok := bytes.Cut(given, []byte(":")); !ok || len(user) == 0 || len(password) == 0 {
			return errKey("The webhook's secret is a user name and a password, joined by a colon.")
		}
	}
	raw, ok := decodeSecret(given, s.doc.Secret.Encoding, s.doc.Secret.Prefix)
	if !ok {
		return errKey("The webhook's secret is not in %s, as %s gives it. Copy it again from the vendor.", s.doc.Secret.Encoding, s.Name)
	}
	// HMAC fills a key up with zeros, so that those at its end add nothing: all zeros is the
	// empty key (RFC 2104, section 2). A hash is long whatever it was made of.
	if min(len(bytes.TrimRight(raw, "\x00")), len(given)) < MinKey {
		return errKey("The webhook's secret is shorter than %d bytes.", MinKey)
	}
	k.secret = claviger.NewSecret(raw)
	return nil
}

func (s *Scheme) symmetric() bool {
	for _, a := range s.doc.Algorithms {
		if strings.HasPrefix(a, "HS") {
			return true
		}
	}
	return false
}

// decodeSecret answers the key in the text of a secret.
func decodeSecret(given []byte, encoding, prefix string) ([]byte, bool) {
	given = bytes.TrimPrefix(given, []byte(prefix))
	switch encoding {
	case "base64":
		raw, err := base64.StdEncoding.Strict().DecodeString(string(given))
		return raw, err == nil
	case "hex":
		raw, err := hex.DecodeString(string(given))
		return raw, err == nil
	case "sha1":
		sum := sha1.Sum(given)
		return sum[:], true
	case "sha256":
		sum := sha256.Sum256(given)
		return sum[:], true
	}
	return given, true
}

// checkText refuses what was never a secret.
func checkText(given []byte) *claviger.Error {
	text := string(given)
	lower := strings.ToLower(text)
	inner := strings.Trim(text, text[:min(len(text), 1)])
	isPEM := strings.HasPrefix(text, "-----BEGIN") // has line breaks, and one at its end
	switch {
	case strings.TrimSpace(text) == "":
		return errKey("The webhook's secret has no value.")
	case strings.TrimSpace(text) != text && !isPEM:
		return errKey("The webhook's secret begins or ends with white space. Store it again without.")
	case len(text) > 64<<10 || !utf8.Valid(given) || !isPEM && strings.ContainsFunc(text, unicode.IsControl):
		return errKey("The webhook's secret is no text of printable characters.")
	case inner == "", placeholder(lower):
		return errKey("The webhook's secret is a placeholder. Store the vendor's value.")
	}
	return nil
}

// placeholder knows what people leave in the place of a secret.
func placeholder(lower string) bool {
	for _, word := range []string{"changeme", "change-me", "change_me", "placeholder", "password", "replaceme", "replace-me", "replace_me", "undefined", "secret-here", "secret_here"} {
		if lower == word {
			return true
		}
	}
	for _, start := range []string{"your-", "your_", "kv://", "${", "{{", "<", "***", "xxxx", "[redacted]"} {
		if strings.HasPrefix(lower, start) {
			return true
		}
	}
	return false
}

// publicKey reads a configured public key and checks that it is of the scheme's kind.
func (s *Scheme) publicKey(k *Key, given []byte) *claviger.Error {
	public := parsePublic(bytes.TrimPrefix(given, []byte(s.doc.Secret.Prefix)))
	if public == nil || !s.fits(public) {
		return errKey("The webhook's public key is not one of kind %s. Give it as PEM, base64 or hex.", s.Kind)
	}
	k.public = public
	return nil
}

// fits reports whether a public key can verify the scheme.
func (s *Scheme) fits(public crypto.PublicKey) bool {
	_, isRSA := public.(*rsa.PublicKey)
	_, isECDSA := public.(*ecdsa.PublicKey)
	_, isEd25519 := public.(ed25519.PublicKey)
	switch s.Kind {
	case KindRSA:
		return isRSA
	case KindECDSA:
		return isECDSA
	case KindEd25519:
		return isEd25519
	case KindJWT:
		return isRSA || isECDSA || isEd25519
	}
	return false
}

// parsePublic reads a public key: PEM (also without its line breaks, and of a
// certificate), base64 of DER or of 32 bytes of Ed25519, or their hex. It answers nil for
// anything else.
func parsePublic(given []byte) crypto.PublicKey {
	if block, _ := pem.Decode(given); block != nil {
		return parseDER(block.Bytes)
	}
	text := string(given)
	for _, armour := range []string{"-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"} {
		text = strings.ReplaceAll(text, armour, "")
	}
	text = strings.Join(strings.Fields(text), "")
	if raw, err := hex.DecodeString(text); err == nil {
		return parseDER(raw)
	}
	if raw, err := base64.StdEncoding.DecodeString(text); err == nil {
		return parseDER(raw)
	}
	return nil
}

func parseDER(raw []byte) crypto.PublicKey {
	if len(raw) == ed25519.PublicKeySize {
		return ed25519.PublicKey(raw)
	}
	if key, err := x509.ParsePKIXPublicKey(raw); err == nil {
		return key
	}
	if cert, err := x509.ParseCertificate(raw); err == nil {
		return cert.PublicKey
	}
	return nil
}
