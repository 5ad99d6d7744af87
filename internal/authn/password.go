package authn

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"

	"claviger"
)

// How a password is hashed: Argon2id with 3 passes over 64 MiB in 4 lanes, more than the
// second recommended option of RFC 9106, section 4, asks of the memory at hand.
const (
	hashPasses  = 3
	hashMemory  = 64 << 10 // KiB
	hashLanes   = 4
	hashSalt    = 16 // bytes
	hashLength  = 32 // bytes
	minPassword = 12 // characters
	maxPassword = 256
)

const (
	// hashWaiters bounds who waits for their turn to hash; one hashes at a time, so that
	// signing in costs 64 MiB and one turn whoever asks, and however often.
	hashWaiters = 16
	hashWait    = 10 * time.Second
)

// hashing lets one hash at a time.
type hashing struct{ turn, waiting chan struct{} }

func newHashing() hashing { return hashing{make(chan struct{}, 1), make(chan struct{}, hashWaiters)} }

// enter waits for a turn; leave ends it.
func (h hashing) enter(ctx context.Context) error {
	busy := claviger.Errorf(claviger.KindUnavailable, "busy", "Many people sign in at this moment. Try again shortly.")
	busy.RetryAfter = 2 * time.Second
	select {
	case h.waiting <- struct{}{}:
	default:
		return busy
	}
	defer func() { <-h.waiting }()
	ctx, cancel := context.WithTimeout(ctx, hashWait)
	defer cancel()
	select {
	case h.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return busy.With(ctx.Err())
	}
}

func (h hashing) leave() { <-h.turn }

// derive answers the hash of a password, in the form that a keyboard cannot change: NFKC,
// as NIST SP 800-63B, section 5.1.1.2, recommends.
func derive(password claviger.Secret, salt []byte, passes, memory uint32, lanes uint8, length uint32) (sum []byte) {
	password.Use(func(b []byte) { sum = argon2.IDKey(norm.NFKC.Bytes(b), salt, passes, memory, lanes, length) })
	return sum
}

// hashPassword answers the hash to keep, with its parameters, in the PHC string format.
func hashPassword(password claviger.Secret, random io.Reader) (string, error) {
	salt := make([]byte, hashSalt)
	if _, err := io.ReadFull(random, salt); err != nil {
		return "", err
	}
	sum := derive(password, salt, hashPasses, hashMemory, hashLanes, hashLength)
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, hashMemory, hashPasses, hashLanes, enc.EncodeToString(salt), enc.EncodeToString(sum)), nil
}

// passwordFits reports whether a password is the one that was hashed. A hash that cannot
// be read, such as none at all, costs the same time and fits nothing.
func passwordFits(password claviger.Secret, kept string) bool {
	salt, want, memory, passes, lanes, ok := readHash(kept)
	if !ok {
		derive(password, make([]byte, hashSalt), hashPasses, hashMemory, hashLanes, hashLength)
		return false
	}
	return subtle.ConstantTimeCompare(derive(password, salt, passes, memory, lanes, uint32(len(want))), want) == 1 //nolint:gosec // at most 64
}

// readHash reads a kept hash. What would take more than it may is none.
func readHash(kept string) (salt, sum []byte, memory, passes uint32, lanes uint8, ok bool) {
	parts := strings.Split(kept, "$")
	if len(parts) != 6 || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return nil, nil, 0, 0, 0, false
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &passes, &lanes); n != 3 || err != nil {
		return nil, nil, 0, 0, 0, false
	}
	salt, errSalt := base64.RawStdEncoding.DecodeString(parts[4])
	sum, errSum := base64.RawStdEncoding.DecodeString(parts[5])
	ok = errSalt == nil && errSum == nil && len(salt) >= 8 && len(sum) >= 16 && len(sum) <= 64 &&
		memory >= 8 && memory <= 4*hashMemory && passes >= 1 && passes <= 4*hashPasses && lanes >= 1 && lanes <= 16
	return salt, sum, memory, passes, lanes, ok
}

// checkPassword refuses a password that could be guessed: a short one, one of few
// characters, and one made of the person's own name or address. Nothing else is asked of
// it (NIST SP 800-63B, section 5.1.1.2).
func checkPassword(password claviger.Secret, own ...string) error {
	var fault string
	password.Use(func(b []byte) {
		text := string(b)
		low := strings.ToLower(text)
		few := map[rune]bool{}
		for _, r := range low {
			few[r] = true
		}
		switch {
		case !utf8.ValidString(text) || len(text) > 4*maxPassword || utf8.RuneCountInString(text) > maxPassword:
			fault = fmt.Sprintf("A password has at most %d characters.", maxPassword)
		case utf8.RuneCountInString(text) < minPassword:
			fault = fmt.Sprintf("A password has at least %d characters. A few words in a row are good.", minPassword)
		case len(few) < 5:
			fault = "This password repeats too few characters."
		}
		for _, name := range own {
			if name = strings.ToLower(name); fault == "" && len(name) > 3 && strings.Contains(low, name) && utf8.RuneCountInString(low)-utf8.RuneCountInString(name) < 8 {
				fault = "This password is nearly your own name or address."
			}
		}
	})
	if fault != "" {
		return claviger.Invalid("password", "weak_password", "%s", fault)
	}
	return nil
}
