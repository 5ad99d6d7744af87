package claviger

import "strings"

// SecretScheme starts every reference to a stored secret.
const SecretScheme = "kv://"

// The caps of a secret's path.
const (
	maxSecretPath     = 256
	minSecretSegments = 2
	maxSecretSegments = 8
)

// ParseSecretPath answers the path of a reference of the form kv://seg/seg...: two
// to eight segments of [A-Za-z0-9][A-Za-z0-9._-]*, at most 256 bytes in all, so
// that no dot segment, percent escape, wildcard or trailing slash exists. Paths are
// compared byte by byte. Anything else is an *Error of KindInvalid with code
// "invalid_secret_path", which does not repeat ref: a person may have pasted the
// secret itself.
func ParseSecretPath(ref string) (path string, err error) {
	path, ok := strings.CutPrefix(ref, SecretScheme)
	if !ok {
		return "", invalidSecretPath("it must start with " + SecretScheme)
	}
	if len(path) > maxSecretPath {
		return "", invalidSecretPath("its path is longer than 256 bytes")
	}
	segments := 0
	for segment := range strings.SplitSeq(path, "/") {
		segments++
		if !secretSegment(segment) {
			return "", invalidSecretPath("each segment starts with a letter or digit and has only letters, digits, dots, underscores and hyphens")
		}
	}
	if segments < minSecretSegments || segments > maxSecretSegments {
		return "", invalidSecretPath("it needs two to eight segments, for example kv://shared/acme/key")
	}
	return path, nil
}

func secretSegment(s string) bool {
	for i, c := range []byte(s) {
		letterOrDigit := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letterOrDigit && (i == 0 || c != '.' && c != '_' && c != '-') {
			return false
		}
	}
	return s != "" && !strings.Contains(s, "..")
}

func invalidSecretPath(why string) *Error {
	return Errorf(KindInvalid, "invalid_secret_path", "The secret's path is not valid: %s.", why)
}
