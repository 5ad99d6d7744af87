package oauth

import (
	"crypto/subtle"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"claviger"
)

// The caps of a callback.
const (
	maxCallback    = 16 << 10
	maxCode        = 4 << 10
	maxDescription = 500
	maxExtra       = 1 << 10
)

// Callback is what a browser brought back from the vendor: a code, or the vendor's no.
type Callback struct {
	State       string
	Code        claviger.Secret // empty if there is an Error
	Error       Verdict         // empty if there is a Code
	Description string          // the vendor's text for people: plain, bounded, untrusted; escape it
	// Extra are further parameters, which some vendors need kept (realmId); untrusted.
	Extra map[string]string
}

// Err answers the vendor's no as an error for people, nil if there is a code.
func (c Callback) Err() error {
	if c.Error == "" {
		return nil
	}
	return Class{Verdict: c.Error}.Err()
}

func errCallback(why string) *claviger.Error {
	return claviger.Errorf(claviger.KindUnreadable, "invalid_callback", "This is not an answer to a connection that was started here: %s. Start again.", why)
}

// StateOf answers the state of a callback's query, so that its flow can be found, and
// the configuration that [ParseCallback] needs with it. Anything but exactly one state
// of the form that [Client.NewState] makes is an *Error of KindUnreadable.
func StateOf(method, rawQuery string) (string, error) {
	query, err := callbackQuery(method, rawQuery)
	if err != nil {
		return "", err
	}
	return query.Get("state"), nil
}

// callbackQuery reads a callback's query: GET alone, bounded, every name once, one
// well-formed state, and none of the tokens of the implicit and hybrid flows.
func callbackQuery(method, rawQuery string) (url.Values, error) {
	if method != http.MethodGet {
		return nil, errCallback("it came with the wrong method")
	}
	if len(rawQuery) > maxCallback {
		return nil, errCallback("it is too long")
	}
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, errCallback("it is malformed")
	}
	for _, values := range query {
		if len(values) != 1 {
			return nil, errCallback("a parameter stands twice")
		}
	}
	for _, name := range []string{"access_token", "id_token", "token_type", "refresh_token", "response"} {
		if query.Has(name) {
			return nil, errCallback("it carries a token where a code belongs")
		}
	}
	if state := query.Get("state"); len(state) != 43 || !base64url(state) {
		return nil, errCallback("its state is missing or malformed")
	}
	return query, nil
}

func base64url(s string) bool {
	for _, c := range []byte(s) {
		if !(c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// ParseCallback reads a callback for the flow that its state belongs to. want is that
// flow's state; cfg is what its authorization request was made with. The issuer, where
// it is known, is compared (RFC 9207): with checkIssuer it must be there, and if it is
// there it must be right. Errors are *claviger.Error of KindUnreadable and quote
// nothing of the query.
func ParseCallback(cfg Config, want, method, rawQuery string) (Callback, error) {
	query, err := callbackQuery(method, rawQuery)
	if err != nil {
		return Callback{}, err
	}
	c := Callback{State: query.Get("state")}
	if subtle.ConstantTimeCompare([]byte(c.State), []byte(want)) != 1 {
		return Callback{}, errCallback("its state belongs to another one")
	}
	if cfg.Rules.CheckIssuer && !query.Has("iss") || query.Has("iss") && cfg.Issuer != "" && query.Get("iss") != cfg.Issuer {
		return Callback{}, errCallback("it comes from another authorization server")
	}
	switch code, failure := query.Get("code"), query.Get("error"); {
	case code != "" && failure != "":
		return Callback{}, errCallback("it is a success and a failure at once")
	case failure != "":
		if c.Error = known(failure); c.Error == "" || c.Error == Pending || c.Error == SlowDown {
			c.Error = Refused
		}
		c.Description = plain(query.Get("error_description"))
	case !printable(code, maxCode):
		return Callback{}, errCallback("its code is missing or malformed")
	default:
		c.Code = claviger.NewSecretString(code)
	}
	c.Extra = map[string]string{}
	for name, values := range query {
		switch name {
		case "state", "code", "error", "error_description", "error_uri", "iss":
		default:
			if len(values[0]) <= maxExtra {
				c.Extra[name] = values[0]
			}
		}
	}
	return c, nil
}

// plain cuts a text for people to one bounded line of printable characters.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r == unicode.ReplacementChar || !unicode.IsPrint(r):
			return -1
		}
		return r
	}, s)
	if runes := []rune(s); len(runes) > maxDescription {
		s = string(runes[:maxDescription])
	}
	return s
}
