// Package authenticator is a person's authenticator app: it makes the codes of RFC 6238
// from the key that a page shows, with an implementation of its own, so that the product's
// is measured against the document and not against itself. It is for tests alone.
package authenticator

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the apps' algorithm
	"encoding/base32"
	"encoding/binary"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Code answers the six digits that an app shows for a key, in base 32, at a time.
func Code(t testing.TB, key string, at time.Time) string {
	t.Helper()
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ToUpper(key))
	if err != nil || len(secret) == 0 {
		t.Fatalf("the key %q cannot be read: %v", key, err)
	}
	mac := hmac.New(sha1.New, secret)
	_ = binary.Write(mac, binary.BigEndian, at.Unix()/30)
	sum := mac.Sum(nil)
	offset := sum[19] % 16
	number := binary.BigEndian.Uint32(sum[offset:]) % (1 << 31) % 1_000_000
	text := strconv.Itoa(int(number))
	return strings.Repeat("0", 6-len(text)) + text
}
