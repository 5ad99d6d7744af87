package document

import (
	"math"
	"regexp"
	"slices"
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

// secretMarks are texts of which every known form holds one: looking for them costs
// far less than the pattern, and nearly no text has any.
var secretMarks = []string{
	"-----BEGIN", "sk_", "rk_", "whsec_", "gh", "github_pat_", "gl", "xox", "xapp-", "AKIA", "ASIA", "AIza", "ya29.", "SG.", "sk-", "ntn_", "secret_",
	"lin_", "pk_", "ATATT3", "dop_v1_", "shp", "npm_", "pypi-", "clv_", "eyJ", "earer ", "EARER ", "asic ", "ASIC ", "oken ", "OKEN ",
}

// KnownSecret reports whether a text holds a form of credential that a vendor chose
// so that scanners find it.
func KnownSecret(s string) bool {
	return slices.ContainsFunc(secretMarks, func(mark string) bool { return strings.Contains(s, mark) }) && knownSecrets.MatchString(s)
}

// RandomRun reports whether a text holds a run that no person wrote: long, of mixed
// letters and digits, and of high entropy. Words joined by hyphens, slashes and
// underscores are taken apart first, so that addresses and GraphQL pass.
func RandomRun(s string) bool {
	const long = 24
	start := 0
	for i := 0; i <= len(s); i++ {
		if i < len(s) && runByte(s[i]) {
			continue
		}
		if word := s[start:i]; len(word) >= long && mixed(word) && entropy(word) >= threshold(word) {
			return true
		}
		start = i + 1
	}
	return false
}

func runByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '+' || c == '='
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
