// Package certify signs what a connected system has shown, and checks such certificates.
//
// A certificate names the manifest by the hash of its canonical form, so that any change
// of the manifest ends it. The signed statement is a JWS (RFC 7515) with RS256; beside it
// stand the same facts for people, and the public key.
//
// The trust boundary: a certificate comes from a file that anybody may have written. Its
// own public key proves only that its parts belong together; who signed is told by the
// key's fingerprint, which the verifier must know from elsewhere. Nothing of the header
// chooses how it is verified.
package certify

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"strings"
	"time"

	"claviger"
)

// Algorithm is how certificates are signed.
const Algorithm = "RS256"

// Codes of refusals, all of claviger.KindConflict.
const (
	CodeInvalid  = "certificate_invalid" // its parts do not belong together, or are not signed
	CodeForeign  = "certificate_foreign" // signed with another key than the one that is trusted
	CodeManifest = "manifest_changed"    // it is about another state of the manifest
)

const (
	keyBits     = 2048
	maxDocument = 256 << 10
)

// Statement is what is signed.
type Statement struct {
	Issuer               string    `json:"issuer"`
	SystemKey            string    `json:"systemKey"`
	Version              string    `json:"version"` // of the manifest
	ContractHash         string    `json:"contractHash"`
	Algorithm            string    `json:"algorithm"`
	PublicKeyFingerprint string    `json:"publicKeyFingerprint"` // "sha256:" and the hex of the SPKI's hash
	Status               string    `json:"status"`               // passed
	Level                string    `json:"level"`                // BRONZE, SILVER, GOLD, PLATINUM
	IssuedAt             time.Time `json:"issuedAt"`
	Checks               []Check   `json:"checks"`
}

// Check is one thing that was looked at.
type Check struct {
	Level   string `json:"level"`
	Name    string `json:"name"`
	Subject string `json:"subject,omitempty"` // the slot or the data source
	Status  string `json:"status"`            // passed, failed, skipped, none
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
}

// Certificate is a statement with the proof of it.
type Certificate struct {
	Enabled bool `json:"enabled"`
	Statement
	PublicKey string `json:"publicKey"` // SPKI, PEM
	Signature string `json:"signature"` // JWS compact, whose payload is the statement
}

// NewKey makes a signing key: PKCS #8 in DER.
func NewKey(random io.Reader) (claviger.Secret, error) {
	key, err := rsa.GenerateKey(random, keyBits)
	if err != nil {
		return claviger.Secret{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return claviger.Secret{}, err
	}
	return claviger.NewSecret(der), nil
}

// Sign makes a certificate of a statement; algorithm and fingerprint are filled in.
func Sign(secret claviger.Secret, s Statement) (c Certificate, err error) {
	var parsed any
	secret.Use(func(der []byte) { parsed, err = x509.ParsePKCS8PrivateKey(der) })
	key, ok := parsed.(*rsa.PrivateKey)
	if err != nil || !ok {
		return c, errors.New("certify: the signing key cannot be read")
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return c, err
	}
	s.Algorithm, s.PublicKeyFingerprint, s.IssuedAt = Algorithm, fingerprint(spki), s.IssuedAt.UTC().Truncate(time.Second)
	header, err := json.Marshal(map[string]string{"alg": Algorithm, "kid": s.PublicKeyFingerprint, "typ": "certification+jws"})
	if err != nil {
		return c, err
	}
	payload, err := json.Marshal(s)
	if err != nil {
		return c, err
	}
	signed := encode(header) + "." + encode(payload)
	digest := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
	if err != nil {
		return c, err
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})
	return Certificate{Enabled: true, Statement: s, PublicKey: string(public), Signature: signed + "." + encode(signature)}, nil
}

// Read reads a certificate. It fails with [CodeInvalid] if the text is none.
func Read(text []byte) (Certificate, error) {
	var c Certificate
	if len(text) > maxDocument || json.Unmarshal(text, &c) != nil || c.Signature == "" {
		return c, claviger.Errorf(claviger.KindConflict, CodeInvalid, "This is no certificate.")
	}
	return c, nil
}

// Verify checks that a certificate is whole, signed by the trusted key - empty: by the key
// that it brings - and about this state of a manifest.
func (c *Certificate) Verify(now claviger.Contract, trusted string) error {
	if err := c.whole(); err != nil {
		return claviger.Errorf(claviger.KindConflict, CodeInvalid, "The certificate does not hold: %s.", err)
	}
	if trusted != "" && trusted != c.PublicKeyFingerprint {
		return claviger.Errorf(claviger.KindConflict, CodeForeign, "The certificate is signed with the key %s, not with the trusted one, %s.", c.PublicKeyFingerprint, trusted)
	}
	if found := now.String(); subtle.ConstantTimeCompare([]byte(found), []byte(c.ContractHash)) != 1 {
		return claviger.Errorf(claviger.KindConflict, CodeManifest, "The manifest is not the one that was signed: expected %s, found %s.", c.ContractHash, found)
	}
	return nil
}

// whole checks that the public key signed the statement, and that the facts beside it are
// the signed ones.
func (c *Certificate) whole() error {
	block, rest := pem.Decode([]byte(c.PublicKey))
	if block == nil || block.Type != "PUBLIC KEY" || len(bytes.TrimSpace(rest)) > 0 {
		return errors.New("its public key cannot be read")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	key, ok := parsed.(*rsa.PublicKey)
	if err != nil || !ok || key.N.BitLen() < keyBits {
		return errors.New("its public key cannot be read")
	}
	if fingerprint(block.Bytes) != c.PublicKeyFingerprint {
		return errors.New("its public key is not that of its fingerprint")
	}
	parts := strings.Split(c.Signature, ".")
	if len(parts) != 3 {
		return errors.New("its signature is no JWS")
	}
	signature, err := base64.RawURLEncoding.Strict().DecodeString(parts[2])
	if err != nil {
		return errors.New("its signature is no JWS")
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) != nil {
		return errors.New("its signature is not by its public key")
	}
	payload, err := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	if err != nil {
		return errors.New("its signature is no JWS")
	}
	if shown, err := json.Marshal(c.Statement); err != nil || !bytes.Equal(shown, payload) {
		return errors.New("it shows something else than what was signed")
	}
	return nil
}

func fingerprint(spki []byte) string {
	sum := sha256.Sum256(spki)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
