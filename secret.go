package claviger

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// Redacted is what every printed form of a [Secret] reads.
const Redacted = "[redacted]"

// RedactionMark stands for a stored value wherever one is shown to exist.
const RedactionMark = "***REDACTED***"

// IsMask reports whether a text is what forms and listings show in a secret's place and no
// secret itself: nothing but stars or dots, a word such as [redacted], or anything that
// holds [RedactionMark]. Storing it would destroy what it stands for.
func IsMask(text string) bool {
	if strings.Contains(text, RedactionMark) {
		return true
	}
	word := strings.Trim(text, "*•●∙·[]<>(){} ")
	switch strings.ToLower(word) {
	case "redacted", "masked":
		return true
	case "":
		return strings.Count(text, "*") > 2 || strings.ContainsAny(text, "•●∙·")
	}
	return false
}

// ErrSecretMarshal is returned by every attempt to encode a [Secret]. Failing
// loudly makes a leak a broken test instead of a well-formed answer.
var ErrSecretMarshal = errors.New("claviger: a secret cannot be encoded")

// Secret is a credential value that cannot be printed.
//
// The bytes live in a closure, which no formatting verb, reflection walk or
// encoder can look into: a struct field would leak under %d or when nested in
// another struct, a closure prints as an address. The only way in is [Secret.Use],
// whose callers a test counts.
//
// The zero Secret is empty.
type Secret struct {
	reveal func() []byte
}

// NewSecret takes a copy of b and seals it into a Secret.
func NewSecret(b []byte) Secret {
	if len(b) == 0 {
		return Secret{}
	}
	own := append([]byte(nil), b...)
	return Secret{reveal: func() []byte { return own }}
}

// NewSecretString is [NewSecret] for a string.
func NewSecretString(s string) Secret { return NewSecret([]byte(s)) }

// Use calls f with the secret's bytes. f must not keep or change them.
func (s Secret) Use(f func([]byte)) {
	if s.reveal == nil {
		f(nil)
		return
	}
	f(s.reveal())
}

// Empty reports whether there is no value, without revealing it.
func (s Secret) Empty() bool { return s.reveal == nil }

// String answers [Redacted].
func (Secret) String() string { return Redacted }

// GoString answers [Redacted], for %#v.
func (Secret) GoString() string { return Redacted }

// Format writes [Redacted] for every verb and flag.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Redacted) }

// LogValue answers [Redacted] to slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(Redacted) }

// MarshalJSON fails with [ErrSecretMarshal].
func (Secret) MarshalJSON() ([]byte, error) { return nil, ErrSecretMarshal }

// MarshalText fails with [ErrSecretMarshal].
func (Secret) MarshalText() ([]byte, error) { return nil, ErrSecretMarshal }

// MarshalBinary fails with [ErrSecretMarshal].
func (Secret) MarshalBinary() ([]byte, error) { return nil, ErrSecretMarshal }

// GobEncode fails with [ErrSecretMarshal].
func (Secret) GobEncode() ([]byte, error) { return nil, ErrSecretMarshal }

// MarshalYAML fails with [ErrSecretMarshal].
func (Secret) MarshalYAML() (any, error) { return nil, ErrSecretMarshal }

// Credentials are the named secret values of one connection at one revision,
// for example {"apiKey": ...} or {"username": ..., "password": ...}. They are
// always used whole, so that a user name of one revision can never meet the
// password of another.
type Credentials map[string]Secret
