package authn

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what authenticator apps speak; HMAC-SHA1 is not broken by collisions
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"claviger"
)

// The second factor is that of RFC 6238 as every authenticator app has it: HMAC-SHA1, six
// digits, steps of 30 seconds. One step before and after the present one counts, for
// clocks that differ (section 5.2).
const (
	factorStep   = 30 * time.Second
	factorSecret = 20 // bytes, as long as the hash (RFC 4226, section 4)
	factorSkew   = 1  // steps
)

// factorCode answers the code of a time step (RFC 4226, section 5.3).
func factorCode(secret []byte, step int64) string {
	var counter [8]byte
	binary.BigEndian.PutUint64(counter[:], uint64(step)) //nolint:gosec // steps since 1970
	mac := hmac.New(sha1.New, secret)
	mac.Write(counter[:])
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 0x0f
	return fmt.Sprintf("%06d", (binary.BigEndian.Uint32(sum[at:at+4])&0x7fffffff)%1_000_000)
}

// factorFits answers the time step whose code this is, if it is newer than the last one
// that was taken: none counts twice.
func factorFits(secret []byte, code string, last int64, now time.Time) (step int64, ok bool) {
	code = strings.ReplaceAll(strings.TrimSpace(code), " ", "")
	present := now.Unix() / int64(factorStep/time.Second)
	for s := present - factorSkew; s <= present+factorSkew; s++ {
		// All are compared, whichever fits, in constant time.
		if subtle.ConstantTimeCompare([]byte(factorCode(secret, s)), []byte(code)) == 1 && s > last {
			step, ok = s, true
		}
	}
	return step, ok
}

// newFactor makes a secret, in the form that people type: base 32 without padding.
func newFactor(random io.Reader) (string, error) {
	var b [factorSecret]byte
	_, err := io.ReadFull(random, b[:])
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]), err
}

func readFactor(text string) ([]byte, error) {
	b, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ToUpper(strings.ReplaceAll(text, " ", "")))
	if err == nil && len(b) != factorSecret {
		err = claviger.Invalid("secret", "invalid_format", "This is not the secret of the page.")
	}
	return b, err
}

// factorURI is what the picture of a secret says to an app
// (https://github.com/google/google-authenticator/wiki/Key-Uri-Format).
func factorURI(secret, issuer, account string) string {
	label := url.PathEscape(issuer + ":" + account)
	q := url.Values{"secret": {secret}, "issuer": {issuer}, "algorithm": {"SHA1"}, "digits": {"6"}, "period": {"30"}}
	return "otpauth://totp/" + label + "?" + strings.ReplaceAll(q.Encode(), "+", "%20")
}

// recoveryCodes is how many codes a person gets who may lose the second factor.
const recoveryCodes = 10

const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// newRecovery makes the codes, of 50 bits each, as people read them, and their hashes.
func newRecovery(random io.Reader) (shown []string, hashes [][]byte, err error) {
	for range recoveryCodes {
		var b [10]byte
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return nil, nil, err
		}
		for i := range b {
			b[i] = crockford[b[i]&31]
		}
		text := string(b[:5]) + "-" + string(b[5:])
		shown, hashes = append(shown, text), append(hashes, recoveryHash(text))
	}
	return shown, hashes, nil
}

// recoveryHash answers how a code is kept, however a person types it. A fast hash will do:
// codes are random, and whoever has the hashes has the database.
func recoveryHash(code string) []byte {
	return HashToken(strings.NewReplacer("-", "", " ", "", "O", "0", "I", "1", "L", "1").Replace(strings.ToUpper(code)))
}
