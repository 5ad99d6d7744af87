package hookverify

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// document is a scheme as it stands in its file. What each field means is told in
// docs/webhooks.md.
type document struct {
	Key           string          `yaml:"key"`
	Name          string          `yaml:"name"`
	VariantOf     string          `yaml:"variantOf"`
	Providers     []string        `yaml:"providers"`
	DocsURL       string          `yaml:"docsUrl"`
	Weak          string          `yaml:"weak"`
	Note          string          `yaml:"note"`
	HeaderDefault bool            `yaml:"headerDefault"`
	Kind          Kind            `yaml:"kind"`
	Algorithm     string          `yaml:"algorithm"`
	Algorithms    []string        `yaml:"algorithms"`
	Secret        secretRule      `yaml:"secret"`
	Settings      []Setting       `yaml:"settings"`
	Signature     signatureRule   `yaml:"signature"`
	Signed        string          `yaml:"signed"`
	SignedLines   []string        `yaml:"signedLines"`
	SignedHeaders string          `yaml:"signedHeaders"`
	URL           urlRule         `yaml:"url"`
	BodyField     string          `yaml:"bodyField"`
	BodyHash      *bodyHashRule   `yaml:"bodyHash"`
	Timestamp     *timestampRule  `yaml:"timestamp"`
	Require       []requirement   `yaml:"require"`
	Claims        claimRules      `yaml:"claims"`
	Keys          keyRule         `yaml:"keys"`
	DeliveryID    string          `yaml:"deliveryId"`
	EventType     string          `yaml:"eventType"`
	Repeats       time.Duration   `yaml:"repeats"`
	Handshake     []handshakeRule `yaml:"handshake"`
	Success       *answerRule     `yaml:"success"`
}

type secretRule struct {
	Label    string `yaml:"label"`
	Encoding string `yaml:"encoding"` // of the key in the secret's text: utf8 (default), base64, hex; sha1, sha256: the key is the hash of the text
	Prefix   string `yaml:"prefix"`   // taken off before decoding
}

type signatureRule struct {
	From      string   `yaml:"from"`
	Also      []string `yaml:"also"`      // more places; one signature in any of them is enough
	Numbered  int      `yaml:"numbered"`  // the header ends with 1 and may go on to this number
	Encoding  string   `yaml:"encoding"`  // hex, base64, base64url
	Prefix    string   `yaml:"prefix"`    // of a signature
	Separator string   `yaml:"separator"` // between entries; those without the prefix are passed over
	Timestamp string   `yaml:"timestamp"` // prefix of the entry that is the timestamp
	Envelope  bool     `yaml:"envelope"`  // base64 of a JSON object with signature and kid
}

type urlRule struct {
	Port     string `yaml:"port"`     // either: with and without the default port
	Unescape string `yaml:"unescape"` // characters whose percent escapes the vendor decodes
}

type bodyHashRule struct {
	Ref        string `yaml:"ref"`        // where the hex SHA-256 of the body stands
	UnlessForm bool   `yaml:"unlessForm"` // a form is signed field by field instead
}

type timestampRule struct {
	From      string        `yaml:"from"` // an entry of the signature if empty
	Unit      string        `yaml:"unit"` // seconds, milliseconds, rfc3339
	Tolerance time.Duration `yaml:"tolerance"`
}

type requirement struct {
	Ref    string `yaml:"ref"`
	Equals string `yaml:"equals"`
	Length int    `yaml:"length"` // of a JSON array
}

type claimRules struct {
	Issuer    []string          `yaml:"issuer"`
	Audience  string            `yaml:"audience"`
	Expiry    bool              `yaml:"expiry"` // exp must be there; where it is, it is always kept
	Equals    map[string]string `yaml:"equals"`
	AnyEquals map[string]string `yaml:"anyEquals"` // one of them
	BodyHash  *claimHash        `yaml:"bodyHash"`
	URLHash   *claimHash        `yaml:"urlHash"`
}

type claimHash struct {
	Claim           string `yaml:"claim"`
	Encoding        string `yaml:"encoding"` // hex or base64, of the SHA-256
	OptionalIfEmpty bool   `yaml:"optionalIfEmpty"`
}

type keyRule struct {
	URL     string       `yaml:"url"`   // an address, with ${kid}, or a reference to one in the delivery
	Hosts   []string     `yaml:"hosts"` // that the address may have; a star stands for one label
	Suffix  string       `yaml:"suffix"`
	Form    KeyForm      `yaml:"form"`
	Account *accountRule `yaml:"account"`
}

// accountRule is for vendors that tell a key only to the account that it signs for: in
// what members of a JSON body user name and password go along, or at which token endpoint
// they are changed into a bearer token (RFC 6749, section 4.4).
type accountRule struct {
	Username string `yaml:"username"`
	Password string `yaml:"password"`
	KeyID    string `yaml:"keyId"`
	TokenURL string `yaml:"tokenUrl"`
	Scope    string `yaml:"scope"`
}

type handshakeRule struct {
	Method   string       `yaml:"method"`
	When     string       `yaml:"when"`     // the value that marks the handshake; any request of the method if empty
	Equals   string       `yaml:"equals"`   // what it must be; anything but empty if empty
	Unsigned bool         `yaml:"unsigned"` // the vendor does not sign it
	Needs    string       `yaml:"needs"`    // a setting without which there is no answer
	Token    *tokenRule   `yaml:"token"`
	Compute  *computeRule `yaml:"compute"`
	Store    string       `yaml:"store"`   // the signing secret that the vendor hands over
	Confirm  string       `yaml:"confirm"` // an address to call, to say yes
	Answer   answerRule   `yaml:"answer"`
}

// tokenRule compares a value of the request with a setting.
type tokenRule struct {
	Ref     string `yaml:"ref"`
	Setting string `yaml:"setting"`
}

// computeRule makes ${computed}: the HMAC, under the slot's secret, of a text, or its hash.
type computeRule struct {
	Hash     string `yaml:"hash"` // a plain hash, instead of the scheme's HMAC
	Over     string `yaml:"over"`
	Encoding string `yaml:"encoding"`
	Pattern  string `yaml:"pattern"` // of what may stand in the holes of Over
}

type answerRule struct {
	Status      int               `yaml:"status"`
	ContentType string            `yaml:"contentType"`
	Headers     map[string]string `yaml:"headers"`
	Body        string            `yaml:"body"`
	JSON        map[string]string `yaml:"json"`
}

// Setting is a value, no secret, that a scheme needs beside its secret.
type Setting struct {
	Key      string `yaml:"key"`
	Required bool   `yaml:"required"`
}

// Set is all known schemes. It never changes.
type Set struct {
	schemes map[string]*Scheme
	keys    []string
	headers map[string]*Scheme // the scheme that owns a header which several use
}

// Load compiles the documents of a folder: every .yaml file is one scheme, named as its
// key. A document with a fault fails the whole; the error names file and field.
func Load(fsys fs.FS, dir string) (*Set, error) {
	names, err := fs.Glob(fsys, path.Join(dir, "*.yaml"))
	if err != nil {
		return nil, err
	}
	set := &Set{schemes: map[string]*Scheme{}, headers: map[string]*Scheme{}}
	for _, name := range names {
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, err
		}
		s, err := parseScheme(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if path.Base(name) != s.Key+".yaml" {
			return nil, fmt.Errorf("%s: the file is not named as its key, %s", name, s.Key)
		}
		set.schemes[s.Key] = s
		set.keys = append(set.keys, s.Key)
		if s.doc.HeaderDefault {
			if other := set.headers[s.from.name]; other != nil {
				return nil, fmt.Errorf("%s: headerDefault: %s has %s already", name, other.Key, s.from)
			}
			set.headers[s.from.name] = s
		}
	}
	return set, set.check()
}

// check looks at what one document cannot know: the others.
func (s *Set) check() error {
	slices.Sort(s.keys)
	var faults []error
	for _, key := range s.keys {
		of := s.schemes[key].VariantOf
		if base := s.schemes[of]; of != "" && (base == nil || base.VariantOf != "") {
			faults = append(faults, fmt.Errorf("%s: variantOf: %s is no scheme of its own", key, of))
		}
	}
	return errors.Join(faults...)
}

// Scheme answers the scheme of a key, without settings.
func (s *Set) Scheme(key string) (*Scheme, bool) {
	scheme, ok := s.schemes[key]
	return scheme, ok
}

// Schemes answers all schemes by name, variants behind what they vary.
func (s *Set) Schemes() []*Scheme {
	out := make([]*Scheme, 0, len(s.keys))
	for _, key := range s.keys {
		out = append(out, s.schemes[key])
	}
	slices.SortStableFunc(out, func(a, b *Scheme) int {
		return cmp.Or(cmp.Compare(cmp.Or(a.VariantOf, a.Key), cmp.Or(b.VariantOf, b.Key)), cmp.Compare(a.VariantOf, b.VariantOf))
	})
	return out
}

// parseScheme reads one document; a field that nobody knows is a fault.
func parseScheme(data []byte) (*Scheme, error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	var doc document
	if err := dec.Decode(&doc); err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := dec.Decode(new(document)); !errors.Is(err, io.EOF) {
		return nil, errors.New("the file holds more than one document")
	}
	return compile(doc)
}
