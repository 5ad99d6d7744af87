package hookverify

import (
	"crypto"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"claviger"
)

// Kind is how a delivery proves itself.
type Kind string

// The kinds of scheme.
const (
	KindHMAC        Kind = "hmac"
	KindHash        Kind = "hash" // a hash over secret and text
	KindRSA         Kind = "rsa"  // PKCS #1 v1.5
	KindECDSA       Kind = "ecdsa"
	KindEd25519     Kind = "ed25519"
	KindJWT         Kind = "jwt"
	KindToken       Kind = "token" // the secret itself, in a header, the query or the body
	KindBasic       Kind = "basic"
	KindCertificate Kind = "certificate" // of TLS: nothing that a verifier of requests can see
)

// Bounds of timestamps: how far from now one may be.
const (
	DefaultTolerance = 5 * time.Minute
	MaxTolerance     = time.Hour
	maxFuture        = 5 * time.Minute
)

// Scheme is a compiled scheme. It never changes; many goroutines share it.
type Scheme struct {
	Key, Name   string
	VariantOf   string // the vendor's usual scheme, if this is another one
	Providers   []string
	DocsURL     string
	Kind        Kind
	SecretLabel string // what the vendor calls the secret
	Settings    []Setting
	Weak        string // why it should be avoided, if so
	Note        string
	Success     *Answer // what the vendor wants to hear of a delivery; nil if any 2xx does

	doc          document
	hash         crypto.Hash
	from         ref
	also         []ref
	signed       text
	lines        []ref
	headerList   ref
	stampRef     ref // not set if the timestamp is an entry of the signature, or if there is none
	tolerance    time.Duration
	requirements []ref
	bodyHash     ref
	keyURL       ref // where the address of the key stands in the delivery
	deliveryID   ref
	eventType    ref
	handshakes   []handshake
	missing      string            // a required setting that has no value yet
	filled       map[string]string // settings, by With
}

// Proof says in a few words what proves a delivery, for example "HMAC-SHA256, hex, in
// header X-Hub-Signature-256".
func (s *Scheme) Proof() string {
	words := map[Kind]string{KindHash: "hash", KindEd25519: "Ed25519", KindToken: "secret", KindBasic: "user and password", KindCertificate: "TLS client certificate"}
	proof := words[s.Kind]
	if proof == "" {
		proof = strings.ToUpper(string(s.Kind))
	}
	if s.hash != 0 {
		proof += "-" + strings.ToUpper(s.doc.Algorithm)
	}
	if len(s.doc.Algorithms) > 0 {
		proof += " (" + strings.Join(s.doc.Algorithms, ", ") + ")"
	}
	if e := s.doc.Signature.Encoding; e != "" {
		proof += ", " + e
	}
	if s.from.is() {
		proof += ", in " + s.from.source + " " + s.from.name
	}
	return proof
}

// Verifiable reports whether a request alone can prove where it comes from. A scheme
// of KindCertificate cannot.
func (s *Scheme) Verifiable() bool { return s.Kind != KindCertificate }

// BodySigned reports whether the proof covers the body, so that nobody who saw one
// delivery can make another.
func (s *Scheme) BodySigned() bool {
	if s.Kind == KindJWT {
		return s.doc.Claims.BodyHash != nil
	}
	return s.signed.uses("body", "jsonCompact", "bodySha256", "form", "formSorted", "lines")
}

// Timed reports whether the vendor signs a time.
func (s *Scheme) Timed() bool { return s.doc.Timestamp != nil }

// Tolerance answers how old a delivery may be; zero for one without a time.
func (s *Scheme) Tolerance() time.Duration { return s.tolerance }

var (
	keyGrammar    = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	settingHole   = regexp.MustCompile(`\$\{setting:([A-Za-z]+)\}`)
	jwtAlgorithms = []string{"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"}
)

// compiler collects the faults of a document.
type compiler struct {
	doc    document
	faults []error
}

func (c *compiler) fault(field, format string, args ...any) {
	c.faults = append(c.faults, fmt.Errorf("%s: %s", field, fmt.Sprintf(format, args...)))
}

func (c *compiler) ref(field, s string) ref {
	if s == "" {
		return ref{}
	}
	r, err := parseRef(s)
	if err != nil {
		c.fault(field, "%v", err)
	}
	return r
}

func (c *compiler) text(field, s string) text {
	t, err := parseText(s)
	if err != nil {
		c.fault(field, "%v", err)
	}
	for _, p := range t {
		if p.ref.source == "setting" && !slices.ContainsFunc(c.doc.Settings, func(x Setting) bool { return x.Key == p.ref.name }) {
			c.fault(field, "setting %s is not declared", p.ref.name)
		}
	}
	return t
}

func (c *compiler) oneOf(field, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		c.fault(field, "%q is none of %s", value, strings.Join(allowed, ", "))
	}
}

// compile checks a document and makes its scheme. The error lists every fault.
func compile(doc document) (*Scheme, error) {
	c := &compiler{doc: doc}
	s := &Scheme{
		Key: doc.Key, Name: doc.Name, VariantOf: doc.VariantOf, Providers: doc.Providers, DocsURL: doc.DocsURL, Kind: doc.Kind,
		SecretLabel: doc.Secret.Label, Settings: doc.Settings, Weak: doc.Weak, Note: doc.Note, doc: doc,
		deliveryID: c.ref("deliveryId", doc.DeliveryID), eventType: c.ref("eventType", doc.EventType),
	}
	c.identity()
	c.proof(s)
	c.signature(s)
	c.signedText(s)
	c.timestamp(s)
	c.requirements(s)
	c.keys(s)
	c.handshakes(s)
	if doc.Success != nil {
		a := c.answer("success", *doc.Success).plain()
		s.Success = &a
	}
	for _, x := range doc.Settings {
		if x.Required && s.missing == "" {
			s.missing = x.Key
		}
	}
	if len(c.faults) > 0 {
		return nil, errors.Join(c.faults...)
	}
	return s, nil
}

func (c *compiler) identity() {
	if !keyGrammar.MatchString(c.doc.Key) || c.doc.Name == "" {
		c.fault("key", "a scheme needs a name, and a key of lower-case words joined by hyphens")
	}
	if u, err := url.Parse(c.doc.DocsURL); c.doc.DocsURL != "" && (err != nil || u.Scheme != "https" || u.Host == "") {
		c.fault("docsUrl", "must be an https address")
	}
	if c.doc.Secret.Label == "" && c.doc.Kind != KindCertificate {
		c.fault("secret.label", "say what the vendor calls the secret")
	}
}

// proof checks that kind, algorithm and secret belong together.
func (c *compiler) proof(s *Scheme) {
	d := c.doc
	hashes := map[string]crypto.Hash{"sha1": crypto.SHA1, "sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512}
	switch d.Kind {
	case KindHMAC, KindHash, KindRSA, KindECDSA:
		if s.hash = hashes[d.Algorithm]; s.hash == 0 {
			c.fault("algorithm", "%q is none of sha1, sha256, sha384, sha512", d.Algorithm)
		}
	case KindJWT:
		for _, a := range d.Algorithms {
			c.oneOf("algorithms", a, jwtAlgorithms...)
		}
	case KindEd25519, KindToken, KindBasic, KindCertificate:
	default:
		c.fault("kind", "%q is no kind", d.Kind)
	}
	if (d.Kind == KindJWT) != (len(d.Algorithms) > 0) || s.hash == 0 && d.Algorithm != "" {
		c.fault("algorithm", "algorithms are of jwt, and an algorithm is of hmac, hash, rsa and ecdsa")
	}
	c.oneOf("secret.encoding", d.Secret.Encoding, "", "utf8", "base64", "hex", "sha1", "sha256")
	if d.Secret.Encoding != "" && d.Kind != KindHMAC && d.Kind != KindJWT {
		c.fault("secret.encoding", "is of hmac and jwt")
	}
	if claims := d.Claims; d.Kind != KindJWT && (claims.Expiry || claims.Audience != "" || claims.BodyHash != nil || len(claims.Issuer)+len(claims.Equals) > 0) {
		c.fault("claims", "are of jwt")
	}
	for _, h := range []*claimHash{d.Claims.BodyHash, d.Claims.URLHash} {
		if h != nil {
			c.oneOf("claims", h.Encoding, "hex", "base64")
		}
	}
}

// signature checks where the proof stands and how it is written.
func (c *compiler) signature(s *Scheme) {
	g := c.doc.Signature
	if s.Kind == KindCertificate {
		return
	}
	from := strings.Replace(g.From, "${", "{", 1) // a header's name may be a setting
	if s.from = c.ref("signature.from", from); !slices.Contains([]string{"header", "query", "json", "form"}, s.from.source) {
		c.fault("signature.from", "a signature stands in header, query, json or form")
	}
	for _, also := range g.Also {
		s.also = append(s.also, c.ref("signature.also", also))
	}
	c.text("signature.prefix", g.Prefix)
	switch s.Kind {
	case KindHMAC, KindHash, KindRSA, KindECDSA, KindEd25519:
		c.oneOf("signature.encoding", g.Encoding, "hex", "base64", "base64url")
	default:
		c.oneOf("signature.encoding", g.Encoding, "")
	}
	if g.Numbered < 0 || g.Numbered > 100 || g.Numbered > 0 && !strings.HasSuffix(g.From, "1") {
		c.fault("signature.numbered", "at most 100, of a header that ends with 1")
	}
	if g.Separator != "" && g.Prefix == "" || g.Timestamp != "" && g.Separator == "" {
		c.fault("signature", "entries between separators need a prefix, and a timestamp among them a separator")
	}
	if c.doc.HeaderDefault && s.from.source != "header" {
		c.fault("headerDefault", "the signature is in no header")
	}
}

// signedText checks what is signed.
func (c *compiler) signedText(s *Scheme) {
	d := c.doc
	s.signed = c.text("signed", d.Signed)
	for _, x := range d.SignedLines {
		s.lines = append(s.lines, c.ref("signedLines", "json:"+x))
	}
	if s.headerList = (ref{}); d.SignedHeaders != "" {
		s.headerList = c.ref("signedHeaders", "header:"+d.SignedHeaders)
	}
	signs := slices.Contains([]Kind{KindHMAC, KindHash, KindRSA, KindECDSA, KindEd25519}, s.Kind)
	if signs != (d.Signed != "") {
		c.fault("signed", "what is signed is said by hmac, hash, rsa, ecdsa and ed25519, and by no other")
	}
	if signs && !slices.ContainsFunc(s.signed, func(p piece) bool {
		return !slices.Contains([]string{"", "secret", "setting", "method", "url", "path"}, p.ref.source)
	}) {
		c.fault("signed", "holds nothing of the delivery")
	}
	if s.signed.uses("lines") != (len(s.lines) > 0) || s.signed.uses("signedHeaders") != s.headerList.is() {
		c.fault("signed", "${lines} and signedLines, ${signedHeaders} and signedHeaders belong together")
	}
	if s.signed.uses("secret") != (s.Kind == KindHash) || s.signed.uses("computed", "kid", "claim") {
		c.fault("signed", "${secret} is of hash; ${computed}, ${kid} and claims are not signed")
	}
	if x := d.BodyHash; x != nil {
		s.bodyHash = c.ref("bodyHash.ref", x.Ref)
		if !s.bodyHash.is() || !s.signed.names(s.bodyHash) && (s.bodyHash.source != "query" || !s.signed.uses("url")) {
			c.fault("bodyHash", "must be signed itself")
		}
	}
	c.oneOf("url.port", d.URL.Port, "", "either")
}

// timestamp checks that a time is signed, and bounded.
func (c *compiler) timestamp(s *Scheme) {
	t := c.doc.Timestamp
	carried := c.doc.Signature.Timestamp != ""
	if t == nil {
		if carried || s.signed.uses("timestamp") {
			c.fault("timestamp", "a time is signed: say its unit")
		}
		return
	}
	s.stampRef = c.ref("timestamp.from", t.From)
	c.oneOf("timestamp.unit", t.Unit, "seconds", "milliseconds", "rfc3339")
	if s.stampRef.is() == carried {
		c.fault("timestamp.from", "a time stands either among the signature's entries or in one other place")
	}
	if s.tolerance = t.Tolerance; s.tolerance == 0 {
		s.tolerance = DefaultTolerance
	}
	if s.tolerance < time.Second || s.tolerance > MaxTolerance {
		c.fault("timestamp.tolerance", "is between one second and %v", MaxTolerance)
	}
	covered := s.signed.uses("timestamp", "lines", "signedHeaders") || s.stampRef.source == "claim" && s.Kind == KindJWT ||
		s.stampRef.source == "json" && s.signed.uses("body")
	if !covered {
		c.fault("timestamp", "the signature does not cover it, so that it proves nothing")
	}
}

func (c *compiler) requirements(s *Scheme) {
	for _, x := range c.doc.Require {
		r := c.ref("require.ref", x.Ref)
		if (x.Equals == "") == (x.Length == 0) || x.Length != 0 && r.source != "json" {
			c.fault("require", "either equals, or the length of a JSON array")
		}
		s.requirements = append(s.requirements, r)
	}
}

// With answers the scheme with the values of its settings put in. Values are neither
// secret nor free: at most 500 printable characters, and no hole. An empty one counts as
// none. Others than the scheme's own settings are passed over.
func (s *Scheme) With(settings map[string]string) (*Scheme, error) {
	given := map[string]string{}
	for _, x := range s.Settings {
		v := settings[x.Key]
		if v == "" && x.Required {
			return nil, claviger.Invalid("variables."+x.Key, "missing_variable", "The webhook scheme %s needs %s.", s.Key, x.Key)
		}
		if len(v) > 500 || strings.Contains(v, "${") || strings.ContainsFunc(v, func(c rune) bool { return c < 0x20 || c == 0x7f }) {
			return nil, claviger.Invalid("variables."+x.Key, "invalid_variable", "%s is at most 500 printable characters, without ${.", x.Key)
		}
		given[x.Key] = v
	}
	if len(given) == 0 {
		return s, nil
	}
	doc, err := fillSettings(s.doc, given)
	if err != nil {
		return nil, err
	}
	out, err := compile(doc)
	if err != nil {
		return nil, claviger.Invalid("variables", "invalid_variable", "The values do not fit the webhook scheme %s.", s.Key).With(err)
	}
	out.filled, out.missing = given, "" // what is required was there
	return out, nil
}
