package authn

import (
	"io"
	"math/big"
	"strings"
)

// newToken makes an opaque token, 256 random bits as the prefix + 43 characters + 6 of
// checksum, and its SHA-256. It fails only if random does.
func newToken(prefix string, random io.Reader) (text string, hash []byte, err error) {
	var b [32]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", nil, err
	}
	text = prefix + digits62(new(big.Int).SetBytes(b[:]), keyRandom)
	text += checksum(text)
	return text, HashToken(text), nil
}

// wellFormed checks a token's form and checksum, so that a mistyped or invented one costs
// no look-up, and scanners can tell a token from a look-alike.
func wellFormed(prefix, token string) bool {
	if len(token) != len(prefix)+keyRandom+keyChecksum || !strings.HasPrefix(token, prefix) {
		return false
	}
	for _, c := range []byte(token[len(prefix):]) {
		if strings.IndexByte(base62, c) < 0 {
			return false
		}
	}
	body := token[:len(token)-keyChecksum]
	return token[len(body):] == checksum(body)
}
