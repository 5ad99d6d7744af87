package egress

import (
	"net/url"
	"strings"
	"unicode/utf8"

	"claviger"
)

// maxPath caps an escaped path below the base.
const maxPath = 8 << 10

func errPath(why string) *claviger.Error {
	e := claviger.Errorf(claviger.KindUnreadable, "invalid_path", "The path is refused: %s.", why)
	e.Param = "path"
	return e
}

// CheckPath refuses every path below a base that two servers may read differently,
// and with that every way to leave the base: dot segments (plain, encoded, encoded
// twice, with path parameters or trailing spaces), encoded slashes and backslashes,
// backslashes, empty segments, control characters and bytes that are no UTF-8. The
// path is as it was sent, still escaped, with or without a leading slash; the empty
// path is fine. The error is an *Error of KindUnreadable (400).
func CheckPath(escapedPath string) error {
	if len(escapedPath) > maxPath {
		return errPath("it is longer than 8 KiB")
	}
	path := strings.TrimPrefix(escapedPath, "/")
	plain := true
	for _, c := range []byte(path) {
		switch {
		case c <= ' ' || c >= 0x7f || c == '\\' || c == '?' || c == '#':
			return errPath("it has a character that must be escaped")
		case c == '%':
			plain = false
		}
	}
	if strings.HasPrefix(path, "/") || strings.Contains(path, "//") {
		return errPath("it has an empty segment")
	}
	if plain && !strings.Contains(path, ".") {
		return nil
	}
	for segment := range strings.SplitSeq(path, "/") {
		if err := checkSegment(segment); err != nil {
			return err
		}
	}
	return nil
}

// maxDecodings is how often a segment is decoded in search of something hidden; one
// that is still encoded after it is refused.
const maxDecodings = 4

// checkSegment decodes the segment as often as it can be decoded and refuses it if
// any reading has a meaning that its text hides.
func checkSegment(segment string) error {
	if !validEscapes(segment) {
		return errPath("it has a malformed escape")
	}
	for range maxDecodings {
		if dotSegment(segment) {
			return errPath("it has a dot segment")
		}
		decoded := unescape(segment)
		if decoded == segment {
			return nil
		}
		if !utf8.ValidString(decoded) {
			return errPath("it is not UTF-8") // overlong forms of "." and "/" included
		}
		for _, c := range []byte(decoded) {
			switch {
			case c == '/' || c == '\\':
				return errPath("it has an encoded slash or backslash")
			case c < ' ' || c == 0x7f:
				return errPath("it has an encoded control character")
			}
		}
		segment = decoded
	}
	return errPath("it is encoded too often")
}

// dotSegment reports "." and ".." as servers may read them: before path parameters
// (..;x), and with trailing spaces, which some file systems drop.
func dotSegment(segment string) bool {
	segment, _, _ = strings.Cut(segment, ";")
	segment = strings.TrimRight(segment, " ")
	return segment == "." || segment == ".."
}

func validEscapes(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] == '%' {
			if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
				return false
			}
			i += 2
		}
	}
	return true
}

// unescape decodes every well-formed escape once and leaves the rest, as lenient
// servers do.
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) {
			out = append(out, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
			continue
		}
		out = append(out, s[i])
	}
	return string(out)
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	default:
		return c - 'A' + 10
	}
}

// Join answers the URL of a caller's escaped path and raw query below a base, whose
// path has no trailing slash. Path and query go out byte for byte as they came, but
// for the few characters that a path may not have bare ("<>^`{|}), which are escaped.
// The result is parsed again, and is an error unless that gives the base's own origin.
func Join(base *url.URL, escapedPath, rawQuery string) (*url.URL, error) {
	if err := CheckPath(escapedPath); err != nil {
		return nil, err
	}
	if err := CheckQuery(rawQuery); err != nil {
		return nil, err
	}
	var text strings.Builder
	prefix := strings.TrimSuffix(base.EscapedPath(), "/")
	text.Grow(len(base.Scheme) + len(base.Host) + len(prefix) + len(escapedPath) + len(rawQuery) + 8)
	text.WriteString(base.Scheme)
	text.WriteString("://")
	text.WriteString(base.Host)
	text.WriteString(prefix)
	if escapedPath != "" && escapedPath[0] != '/' {
		text.WriteByte('/')
	}
	text.WriteString(escapeBare(escapedPath))
	if rawQuery != "" {
		text.WriteByte('?')
		text.WriteString(rawQuery)
	}
	u, err := url.Parse(text.String())
	if err != nil || u.Scheme != base.Scheme || u.Host != base.Host || u.User != nil || u.Opaque != "" || u.Fragment != "" ||
		!within(u, prefix) {
		return nil, errPath("it does not fit the connector's address")
	}
	return u, nil
}

// escapeBare escapes the characters that RFC 3986 allows in no path and net/url
// would otherwise answer by escaping the whole path anew.
func escapeBare(path string) string {
	const bare = "\"<>^`{|}"
	if !strings.ContainsAny(path, bare) {
		return path
	}
	var out strings.Builder
	for _, c := range []byte(path) {
		if strings.IndexByte(bare, c) >= 0 {
			out.WriteByte('%')
			out.WriteByte("0123456789ABCDEF"[c>>4])
			c = "0123456789ABCDEF"[c&15]
		}
		out.WriteByte(c)
	}
	return out.String()
}

// within reports whether u's path is prefix or lies below it.
func within(u *url.URL, prefix string) bool {
	rest, ok := strings.CutPrefix(u.EscapedPath(), prefix)
	return ok && (rest == "" || rest[0] == '/')
}

// RewriteLocation answers the Location of a redirect as the proxy's client should
// see it: below proxyPrefix if it lies inside the base, else false, and the field is
// to be dropped. location may be relative to sent, the URL of the request that was
// answered.
func RewriteLocation(location string, sent, base *url.URL, proxyPrefix string) (string, bool) {
	for _, c := range []byte(location) {
		if c <= ' ' || c >= 0x7f || c == '\\' {
			return "", false // browsers read backslashes as slashes
		}
	}
	ref, err := url.Parse(location)
	if err != nil || location == "" {
		return "", false
	}
	u := sent.ResolveReference(ref)
	prefix := strings.TrimSuffix(base.EscapedPath(), "/")
	origin, ok := CanonicalOrigin(u)
	pinned, ok2 := CanonicalOrigin(base)
	if !ok || !ok2 || origin != pinned || !within(u, prefix) {
		return "", false
	}
	rest := strings.TrimPrefix(u.EscapedPath(), prefix)
	if CheckPath(rest) != nil || CheckQuery(u.RawQuery) != nil {
		return "", false
	}
	out := strings.TrimSuffix(proxyPrefix, "/") + rest
	if u.RawQuery != "" {
		out += "?" + u.RawQuery
	}
	if u.Fragment != "" {
		out += "#" + u.EscapedFragment()
	}
	return out, true
}
