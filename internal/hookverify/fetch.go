package hookverify

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// KeyForm is the shape of a document that holds published keys.
type KeyForm string

// The key forms.
const (
	FormCertificate KeyForm = "certificate" // PEM of an X.509 certificate
	FormJWKS        KeyForm = "jwks"        // RFC 7517
	FormDiscovery   KeyForm = "discovery"   // OpenID Connect Discovery: it names the address of the JWKS
	FormPlaid       KeyForm = "plaid"       // {"key": JWK}, with an expired_at once it is of no use
	FormEBay        KeyForm = "ebay"        // {"key": "-----BEGIN PUBLIC KEY-----..."}
)

// KeyRef names a document with the public key of a delivery. The address has been held
// against the scheme's hosts; fetching, caching and rate-limiting it are the caller's.
type KeyRef struct {
	URL   string // https
	KeyID string // the vendor's name of the key; empty if the address is enough
	Form  KeyForm
	// Account says how to ask where the vendor answers only its account; nil: anybody.
	Account *KeyAccount
}

// KeyAccount is how a key is asked for with the account's own user name and password,
// which are the slot's secrets: with a POST of Body, to which they are added as members of
// these names, or, where TokenURL is given, with a GET and the bearer token that they are
// worth there.
type KeyAccount struct {
	Username, Password string
	Body               []byte // JSON
	TokenURL, Scope    string
}

// keyName is what may stand for ${kid} in an address: it cannot leave its segment.
var keyName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,200}$`)

// AsksAsAccount reports whether the keys are told to the vendor's account alone, whose
// user name and password are then the slot's secrets.
func (s *Scheme) AsksAsAccount() bool { return s.doc.Keys.Account != nil }

// FetchesKeys reports whether the scheme's keys are published by the vendor, so that a
// slot has no secret and [Scheme.KeyRef] must be asked.
func (s *Scheme) FetchesKeys() bool { return s.doc.Keys.URL != "" }

// keys checks where published keys may come from.
func (c *compiler) keys(s *Scheme) {
	k := c.doc.Keys
	if k.URL == "" {
		return
	}
	c.oneOf("keys.form", string(k.Form), string(FormCertificate), string(FormJWKS), string(FormDiscovery), string(FormPlaid), string(FormEBay))
	if source, _, _ := strings.Cut(k.URL, ":"); source == "header" || source == "json" {
		if s.keyURL = c.ref("keys.url", k.URL); len(k.Hosts) == 0 {
			c.fault("keys.hosts", "an address out of a delivery needs hosts")
		}
	} else if !strings.HasPrefix(k.URL, "https://") {
		c.fault("keys.url", "an https address, or a reference into header or json")
	}
	if a := k.Account; a != nil && (!strings.HasPrefix(k.URL, "https://") || a.TokenURL != "" && !strings.HasPrefix(a.TokenURL, "https://") ||
		(a.TokenURL == "") != (a.Username != "" && a.Password != "" && a.KeyID != "")) {
		c.fault("keys.account", "tokenUrl, or username, password and keyId, at fixed https addresses")
	}
	if !slices.Contains([]Kind{KindRSA, KindECDSA, KindEd25519, KindJWT}, s.Kind) {
		c.fault("keys", "are of schemes with public keys")
	}
}

// KeyRef answers where the key of a delivery is published. An address outside the
// scheme's hosts is refused with [CodeKeyRefused]: whoever chooses the key forges the
// signature.
func (s *Scheme) KeyRef(req *Request) (KeyRef, error) {
	rule, r := s.doc.Keys, s.read(req)
	ref := KeyRef{URL: rule.URL, Form: rule.Form}
	if err := s.readKeyID(r); err != nil {
		return KeyRef{}, err
	}
	ref.KeyID = r.keyID
	if s.keyURL.is() {
		var err error
		if ref.URL, err = r.one(s.keyURL); err != nil {
			return KeyRef{}, refuse(CodeKeyRefused, "The address of the key, %s, %v.", s.keyURL, err)
		}
		if !allowedKeyURL(ref.URL, rule.Hosts, rule.Suffix) {
			return KeyRef{}, refuse(CodeKeyRefused, "The delivery names a key on a host that is not the vendor's.")
		}
	}
	if (strings.Contains(ref.URL, "${kid}") || rule.Account != nil) && !keyName.MatchString(r.keyID) {
		return KeyRef{}, refuse(CodeKeyRefused, "The delivery names no key of %s.", s.Name)
	}
	ref.URL = strings.ReplaceAll(ref.URL, "${kid}", r.keyID)
	if a := rule.Account; a != nil {
		ref.Account = &KeyAccount{Username: a.Username, Password: a.Password, TokenURL: a.TokenURL, Scope: a.Scope}
		if a.TokenURL == "" {
			ref.Account.Body, _ = json.Marshal(map[string]string{a.KeyID: r.keyID}) // texts always encode
		}
	}
	return ref, nil
}

// readKeyID reads the vendor's name of the key, in the envelope of the signature or in
// the header of a token.
func (s *Scheme) readKeyID(r *reading) error {
	if s.Kind != KindJWT && !s.doc.Signature.Envelope {
		return nil
	}
	if s.Kind != KindJWT {
		_, err := s.carried(r)
		return err
	}
	tokens, err := s.tokens(r)
	if err != nil {
		return err
	}
	r.keyID = tokens[0].Signatures[0].Header.KeyID
	return nil
}

// allowedKeyURL reports whether an address is https, on one of the hosts, on the default
// port, without user, query or fragment, and ends as it should.
func allowedKeyURL(address string, hosts []string, suffix string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Host != u.Hostname() {
		return false
	}
	return strings.HasSuffix(u.Path, suffix) && slices.ContainsFunc(hosts, func(pattern string) bool {
		return matchHost(strings.Split(pattern, "."), strings.Split(strings.ToLower(u.Host), "."))
	})
}

func matchHost(pattern, labels []string) bool {
	if len(pattern) != len(labels) {
		return false
	}
	for i, p := range pattern {
		if p != labels[i] && (p != "*" || labels[i] == "") {
			return false
		}
	}
	return true
}

// FetchedKeys makes keys from a document that [Scheme.KeyRef] named. A certificate must
// be valid now. Keys of another kind than the scheme's are left out; no key at all is
// [CodeKeyRefused].
func (s *Scheme) FetchedKeys(ref KeyRef, document []byte, now time.Time) ([]Key, error) {
	var out []Key
	add := func(kid string, public any) {
		if public != nil && s.fits(public) && len(out) < MaxKeys && (ref.KeyID == "" || kid == "" || kid == ref.KeyID) {
			out = append(out, Key{id: kid, kid: kid, scheme: s.Key, public: public})
		}
	}
	switch ref.Form {
	case FormCertificate:
		if block, _ := pem.Decode(document); block != nil {
			if cert, err := x509.ParseCertificate(block.Bytes); err == nil && !now.Before(cert.NotBefore) && !now.After(cert.NotAfter) {
				add("", cert.PublicKey)
			}
		}
	case FormJWKS:
		var set jose.JSONWebKeySet
		if json.Unmarshal(document, &set) == nil {
			for _, k := range set.Keys {
				if k.IsPublic() && k.Valid() && (k.Use == "" || k.Use == "sig") {
					add(k.KeyID, k.Key)
				}
			}
		}
	case FormPlaid:
		var one struct {
			Key jose.JSONWebKey `json:"key"`
		}
		var life struct {
			Key struct {
				ExpiredAt *int64 `json:"expired_at"`
			} `json:"key"`
		}
		if json.Unmarshal(document, &one) == nil && json.Unmarshal(document, &life) == nil && life.Key.ExpiredAt == nil && one.Key.IsPublic() && one.Key.Valid() {
			add(one.Key.KeyID, one.Key.Key)
		}
	case FormEBay:
		if tree, err := parseJSON(document); err == nil {
			if values := find(tree, "key"); len(values) == 1 {
				text, _ := scalar(values[0])
				add(ref.KeyID, parsePublic([]byte(text)))
			}
		}
	}
	if len(out) == 0 {
		return nil, refuse(CodeKeyRefused, "The vendor's published keys hold none for this delivery.")
	}
	return out, nil
}

// Discovered answers the address of the keys that an OpenID configuration names. Its
// issuer must be the scheme's. The document comes from the configured address, so that
// the one of the keys is as good as it; what a token itself says (jku, x5u) is not read.
func (s *Scheme) Discovered(from KeyRef, document []byte) (KeyRef, error) {
	tree, err := parseJSON(document)
	if err != nil {
		return KeyRef{}, refuse(CodeKeyRefused, "The OpenID configuration cannot be read.")
	}
	r := &reading{scheme: s, req: &Request{}, tree: tree, treeRead: true}
	issuer, errIssuer := r.one(ref{source: "json", name: "issuer"})
	keys, errKeys := r.one(ref{source: "json", name: "jwks_uri"})
	if errIssuer != nil || errKeys != nil || !slices.Contains(s.doc.Claims.Issuer, issuer) {
		return KeyRef{}, refuse(CodeKeyRefused, "The OpenID configuration is of another issuer.")
	}
	if u, err := url.Parse(keys); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return KeyRef{}, refuse(CodeKeyRefused, "The OpenID configuration names no https address of keys.")
	}
	return KeyRef{URL: keys, KeyID: from.KeyID, Form: FormJWKS}, nil
}
