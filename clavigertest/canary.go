package clavigertest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Canaries are secrets that a test plants and later looks for wherever they must not
// be, in every encoding that a careless program could have put them through.
type Canaries struct{ needles []needle }

// needle is one encoded form of one secret.
type needle struct {
	name, encoding string
	text           []byte
}

// Add plants a secret under a name; it must have at least eight bytes.
func (c *Canaries) Add(name, secret string) {
	for encoding, forms := range Encodings(secret) {
		for _, form := range forms {
			c.needles = append(c.needles, needle{name, encoding, []byte(form)})
		}
	}
}

// Encodings answers the forms of a secret by the encoding's name. Those of base64 are
// the parts that do not depend on what stands around the secret, for each of the three
// alignments that it can have.
func Encodings(secret string) map[string][]string {
	quoted, _ := json.Marshal(secret)
	digits := hex.EncodeToString([]byte(secret))
	out := map[string][]string{
		"raw": {secret}, "json": {strings.Trim(string(quoted), `"`)}, "hex": {digits, strings.ToUpper(digits)},
		"url": {url.QueryEscape(secret), url.PathEscape(secret)}, "go": {strings.Trim(fmt.Sprintf("%q", secret), `"`)},
		"bytes": {strings.Trim(fmt.Sprint([]byte(secret)), "[]")},
	}
	for shift := range 3 {
		text := base64.StdEncoding.EncodeToString(append(make([]byte, shift), secret...))
		first := (shift*8 + 5) / 6                 // the first sextet that is the secret's alone
		last := (shift + len(secret)) * 8 / 6      // behind the last one that is
		core := text[first:min(last, len(text)-2)] // the padding and its neighbour vary
		out["base64"] = append(out["base64"], core)
		out["base64url"] = append(out["base64url"], strings.NewReplacer("+", "-", "/", "_").Replace(core))
	}
	return out
}

// Hit is a secret that was found where it must not be.
type Hit struct{ Sink, Secret, Encoding, Around string }

// Scan answers every planted secret that a sink holds, but those named in except; each
// secret once.
func (c *Canaries) Scan(sink string, content []byte, except ...string) []Hit {
	var out []Hit
	seen := map[string]bool{}
	for _, n := range c.needles {
		if seen[n.name] || slices.Contains(except, n.name) {
			continue
		}
		at := bytes.Index(content, n.text)
		if at < 0 {
			continue
		}
		seen[n.name] = true
		around := content[max(0, at-60):min(len(content), at+len(n.text)+60)]
		out = append(out, Hit{sink, n.name, n.encoding, strings.ToValidUTF8(string(around), "?")})
	}
	return out
}
