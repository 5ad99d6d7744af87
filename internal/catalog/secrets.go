package catalog

import (
	"math"
	"regexp"
	"strings"
)

// knownSecrets are forms of credentials that vendors chose so that scanners find
// them. A document that holds one has leaked it to everybody who can read it.
var knownSecrets = regexp.MustCompile(`-----BEGIN [A-Z ]*(?:PRIVATE KEY|CERTIFICATE)|` +
	`\b(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{10,}|\bwhsec_[A-Za-z0-9+/]{16,}|` +
	`\bgh[opsur]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}|\bgl(?:pat|cbt|dt|oas|ptt|rt)-[A-Za-z0-9_-]{16,}|` +
	`\bxox[abeprs]-[A-Za-z0-9-]{10,}|\bxapp-[A-Za-z0-9-]{10,}|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[0-9A-Za-z_-]{30,}|\bya29\.[0-9A-Za-z_-]{20,}|` +
	`\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}|\bsk-(?:proj-|admin-|svcacct-|ant-)?[A-Za-z0-9_-]{20,}|` +
	`\bntn_[A-Za-z0-9]{30,}|\bsecret_[A-Za-z0-9]{30,}|\blin_(?:api|oauth|wh)_[A-Za-z0-9]{20,}|\bpk_[0-9]{6,}_[0-9A-Z]{20,}|` +
	`\bATATT3[A-Za-z0-9_=-]{20,}|\bdop_v1_[a-f0-9]{20,}|\bshp(?:at|ca|pa|ss)_[A-Fa-f0-9]{20,}|\bnpm_[A-Za-z0-9]{30,}|\bpypi-[A-Za-z0-9_-]{30,}|` +
	`\bclv_[a-z]+_[A-Za-z0-9_-]{16,}|\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}|\b(?i:bearer|basic|token) +[A-Za-z0-9+/=_.-]{16,}`)

// longRun finds unbroken runs that could be random.
var longRun = regexp.MustCompile(`[A-Za-z0-9+/=_-]{24,}`)

// literalSecrets looks for credentials in every string of the document. Patterns
// describe credentials, so for them only the known forms count.
func (c *checker) literalSecrets(n *node, path string, pattern bool) {
	if n.kind == kindString && (knownSecrets.MatchString(n.text) || !pattern && randomRun(n.text)) {
		c.fault(n, path, CodeLiteralSecret, "remove it, change it at the vendor, and let the connection hold it; name a field as ${apiKey} instead", "looks like a credential, which a document must not hold")
	}
	for _, m := range n.members {
		at := join(path, m.key)
		if knownSecrets.MatchString(m.key) || randomRun(m.key) {
			c.fault(&node{line: m.line, column: m.column}, path, CodeLiteralSecret, "remove it", "a key looks like a credential")
			continue
		}
		c.literalSecrets(m.value, at, m.key == "pattern" || m.key == "softPattern")
	}
	for i, item := range n.items {
		c.literalSecrets(item, index(path, i), pattern)
	}
}

// randomRun reports whether a text holds a run that no person wrote: long, of mixed
// letters and digits, and of high entropy. Words joined by hyphens, slashes and
// underscores are taken apart first, so that addresses and GraphQL pass.
func randomRun(s string) bool {
	for _, run := range longRun.FindAllString(s, -1) {
		for word := range strings.FieldsFuncSeq(run, func(r rune) bool { return r == '/' || r == '_' || r == '-' }) {
			if len(word) >= 24 && mixed(word) && entropy(word) >= threshold(word) {
				return true
			}
		}
	}
	return false
}

// mixed asks for at least three digits and letters beside them.
func mixed(s string) bool {
	digits, letters := 0, 0
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c != '=' && c != '+':
			letters++
		}
	}
	return digits >= 3 && letters >= 3
}

// threshold is lower for hexadecimal, whose alphabet holds 4 bits a character.
func threshold(s string) float64 {
	for i := range len(s) {
		if c := s[i] | 0x20; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return 3.8
		}
	}
	return 3.0
}

// entropy is Shannon's, in bits per character.
func entropy(s string) float64 {
	var count [256]int
	for i := range len(s) {
		count[s[i]]++
	}
	bits := 0.0
	for _, n := range count {
		if n > 0 {
			p := float64(n) / float64(len(s))
			bits -= p * math.Log2(p)
		}
	}
	return bits
}
