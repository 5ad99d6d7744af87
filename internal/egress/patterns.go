package egress

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"html"
	"net/url"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	// minSecret is the shortest secret that is searched for: shorter ones are found by
	// chance.
	minSecret = 6
	// maxPiece is where a long secret (a private key) is cut into several that are
	// searched for on their own, so that no pattern is longer than a few KiB.
	maxPiece = 1024
)

// appendForms appends every text in which a secret may be echoed: as it is, escaped
// for URLs, JSON and HTML, in base64 at each of the three alignments, and in hex.
func appendForms(forms [][]byte, secret []byte) [][]byte {
	if len(secret) < minSecret {
		return forms
	}
	pieces := (len(secret) + maxPiece - 1) / maxPiece
	for i := range pieces {
		forms = appendPiece(forms, secret[i*len(secret)/pieces:(i+1)*len(secret)/pieces])
	}
	return forms
}

func appendPiece(forms [][]byte, b []byte) [][]byte {
	// One array holds all forms of a usual secret; it is made per call, so it counts.
	arena := make([]byte, 0, 12*len(b)+32)
	add := func(from int) {
		if form := arena[from:len(arena):len(arena)]; !slices.ContainsFunc(forms, func(f []byte) bool { return bytes.Equal(f, form) }) {
			forms = append(forms, form)
		}
	}
	arena = append(arena, b...)
	add(0)
	for offset := range 3 {
		arena, forms = appendBase64(arena, forms, b, offset)
	}
	from := len(arena)
	arena = hex.AppendEncode(arena, b)
	add(from)
	upper := len(arena)
	arena = append(arena, bytes.ToUpper(arena[from:upper])...)
	add(upper)
	if unreserved(b) {
		return forms // escaping changes nothing
	}
	for _, text := range escapedForms(string(b)) {
		from := len(arena)
		arena = append(arena, text...)
		add(from)
	}
	return forms
}

// appendBase64 appends the characters that b alone decides when it stands offset
// bytes into what is encoded, and for offset 0 the whole encodings too, in both
// alphabets.
func appendBase64(arena []byte, forms [][]byte, b []byte, offset int) ([]byte, [][]byte) {
	add := func(form []byte) {
		form = form[:len(form):len(form)]
		if !slices.ContainsFunc(forms, func(f []byte) bool { return bytes.Equal(f, form) }) {
			forms = append(forms, form)
		}
	}
	from := len(arena)
	if offset == 0 {
		arena = base64.StdEncoding.AppendEncode(arena, b)
	} else {
		padded := append(make([]byte, offset, offset+len(b)), b...)
		arena = base64.StdEncoding.AppendEncode(arena, padded)
	}
	skip := (offset*8 + 5) / 6
	decided := (offset + len(b)) * 8 / 6
	variants := [][]byte{arena[from:]}
	if bytes.ContainsAny(arena[from:], "+/") {
		start := len(arena)
		arena = append(arena, arena[from:]...)
		for i, c := range arena[start:] {
			switch c {
			case '+':
				arena[start+i] = '-'
			case '/':
				arena[start+i] = '_'
			}
		}
		variants = append(variants, arena[start:])
	}
	for _, text := range variants {
		if offset == 0 {
			add(text)
			add(bytes.TrimRight(text, "="))
		}
		add(text[skip:decided])
	}
	return arena, forms
}

func unreserved(b []byte) bool {
	for _, c := range b {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' || c == '~') {
			return false
		}
	}
	return true
}

// escapedForms answers the escapings that common libraries make.
func escapedForms(s string) []string {
	query := url.QueryEscape(s)
	component := strings.NewReplacer("+", "%20", "%21", "!", "%27", "'", "%28", "(", "%29", ")", "%2A", "*").Replace(query)
	strict := strings.ReplaceAll(query, "+", "%20")
	path := url.PathEscape(s)
	forms := []string{query, component, strict, path}
	for _, f := range forms[:4] {
		forms = append(forms, lowerEscapes(f))
	}
	plain, markup, ascii := escapeJSON(s, false, false), escapeJSON(s, true, false), escapeJSON(s, false, true)
	for _, f := range []string{plain, markup, ascii, escapeJSON(s, true, true)} {
		forms = append(forms, f, strings.ReplaceAll(f, "/", `\/`))
	}
	return append(forms, html.EscapeString(s), strings.ReplaceAll(html.EscapeString(s), "&#34;", "&quot;"))
}

// lowerEscapes answers s with its percent escapes in lower-case hex.
func lowerEscapes(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:], bytes.ToLower(b[i+1:i+3]))
		}
	}
	return string(b)
}

// escapeJSON escapes as JSON encoders do (RFC 8259, section 7): markup also escapes
// < > &, ascii everything beyond ASCII.
func escapeJSON(s string, markup, ascii bool) string {
	const digits = "0123456789abcdef"
	var out []byte
	unicode := func(r uint16) {
		out = append(out, '\\', 'u', digits[r>>12], digits[r>>8&15], digits[r>>4&15], digits[r&15])
	}
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '"' || r == '\\':
			out = append(out, '\\', byte(r))
		case r == '\n':
			out = append(out, `\n`...)
		case r == '\r':
			out = append(out, `\r`...)
		case r == '\t':
			out = append(out, `\t`...)
		case r < ' ' || markup && (r == '<' || r == '>' || r == '&'):
			unicode(uint16(r))
		case ascii && r >= utf8.RuneSelf && r != utf8.RuneError:
			if r > 0xffff {
				high, low := utf16.EncodeRune(r)
				unicode(uint16(high))
				unicode(uint16(low))
			} else {
				unicode(uint16(r))
			}
		default:
			out = append(out, s[i:i+size]...)
		}
		i += size
	}
	return string(out)
}
