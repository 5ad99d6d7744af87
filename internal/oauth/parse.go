package oauth

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"claviger"
)

// The caps of what an answer may hold.
const (
	maxToken    = 16 << 10
	maxIDToken  = 64 << 10
	maxScopes   = 1000
	maxScope    = 512
	maxLifetime = 10 * 365 * 24 * time.Hour
)

// Parse reads the tokens of a token endpoint's answer. A failure is its [Class]'s
// error; a success that cannot be used is "bad_token_response" or "bad_token_value",
// and then the vendor may have used up what was sent. No error holds a part of the
// answer.
//
// Refresh is empty where the answer has none or an empty one: the old one stays.
// Times are counted from the answer's arrival: a lifetime of zero or less, or a past
// time, is that moment; one beyond ten years is cut to ten years.
func Parse(cfg Config, client claviger.OAuthClient, raw Raw) (claviger.Tokens, error) {
	if err := Classify(cfg, raw).Err(); err != nil {
		return claviger.Tokens{}, err
	}
	r := &cfg.Rules.TokenResponse
	tree, _ := raw.read(r.Format)
	p := parser{limit: maxToken, secret: reveal(client.Secret)}
	if cfg.Rules.TokenBytes > 0 {
		p.limit = cfg.Rules.TokenBytes
	}
	tokens := claviger.Tokens{
		Access:   p.token(tree, r.AccessToken, "$.access_token"),
		Refresh:  p.token(tree, r.RefreshToken, "$.refresh_token"),
		IssuedAt: raw.Received,
		Scopes:   grantedScopes(cfg, tree),
	}
	if tokens.Access.Empty() {
		p.bad = true
	}
	p.limit = max(p.limit, maxIDToken)
	tokens.ID = p.token(tree, r.IDToken, "$.id_token")
	kind, known := tokenType(cfg, tree)
	if p.bad || !known {
		return claviger.Tokens{}, errBadValue()
	}
	tokens.Type = kind
	tokens.ExpiresAt = accessExpiry(cfg, tree, raw.Received)
	if v, ok := find(tree, r.RefreshExpiresIn, "$.refresh_token_expires_in", "$.refresh_expires_in"); ok {
		if n, ok := number(v); ok && n > 0 { // zero means never to those who say it
			tokens.RefreshExpiresAt = raw.Received.Add(seconds(n))
		}
	}
	return tokens, nil
}

// parser reads token values and remembers whether one of them was bad.
type parser struct {
	limit  int
	secret string
	bad    bool
}

// token reads one token: absent, null and empty are none; everything else must be a
// string of visible ASCII (RFC 6749, appendix A.12), or it could end the header that
// it will be sent in. The client's own secret is an echo, not a token.
func (p *parser) token(tree any, declared, usual string) claviger.Secret {
	v, ok := find(tree, declared, usual)
	if !ok || v == "" {
		return claviger.Secret{}
	}
	s, ok := v.(string)
	if !ok || !printable(s, p.limit) || s == p.secret {
		p.bad = true
		return claviger.Secret{}
	}
	return claviger.NewSecretString(s)
}

// tokenType reads token_type: absent means Bearer, as vendors leave it out; DPoP is
// what it must be if and only if we asked for it.
func tokenType(cfg Config, tree any) (kind string, known bool) {
	v, found := find(tree, cfg.Rules.TokenResponse.TokenType, "$.token_type")
	said, isText := v.(string)
	switch {
	case !found:
		return "Bearer", !cfg.Rules.DPoP
	case isText && strings.EqualFold(said, "bearer"):
		return "Bearer", !cfg.Rules.DPoP
	case isText && strings.EqualFold(said, "dpop"):
		return "DPoP", cfg.Rules.DPoP
	default:
		return "", false
	}
}

func grantedScopes(cfg Config, tree any) []string {
	r := &cfg.Rules.TokenResponse
	v, ok := find(tree, r.Scope, "$.scope")
	if !ok {
		return nil
	}
	var list []string
	switch v := v.(type) {
	case string:
		separator := orElse(r.ScopeSeparator, orElse(cfg.Rules.ScopeSeparator, " "))
		if separator == " " && !strings.Contains(v, " ") && !strings.Contains(strings.Join(cfg.Rules.Scopes, " "), ",") {
			separator = "," // which vendors answer with that were asked with spaces; no scope of theirs has one
		}
		list = strings.Split(v, separator)
	case []any:
		for _, item := range v {
			if s, ok := item.(string); ok {
				list = append(list, s)
			}
		}
	}
	scopes := []string{}
	for _, s := range list {
		if s = strings.TrimSpace(s); printable(s, maxScope) && len(scopes) < maxScopes {
			scopes = append(scopes, s)
		}
	}
	return scopes
}

// accessExpiry answers when an access token ends; zero if nobody knows.
func accessExpiry(cfg Config, tree any, received time.Time) time.Time {
	r := &cfg.Rules.TokenResponse
	if v, ok := find(tree, r.ExpiresIn, "$.expires_in"); ok {
		if n, ok := number(v); ok {
			if r.ExpiresInUnit == "ms" {
				n /= 1000
			}
			return received.Add(seconds(n))
		}
	}
	if v, ok := find(tree, r.ExpiresAt, "$.expires_at"); ok {
		if at, ok := instant(v); ok {
			return received.Add(min(max(at.Sub(received), 0), maxLifetime))
		}
	}
	if d := cfg.Rules.Refresh.DefaultLifetime; d > 0 {
		return received.Add(min(d, maxLifetime))
	}
	return time.Time{}
}

// number reads a JSON number, or a string that is one.
func number(v any) (float64, bool) {
	var s string
	switch v := v.(type) {
	case json.Number:
		s = v.String()
	case string:
		s = strings.TrimSpace(v)
	default:
		return 0, false
	}
	if s == "" || strings.Trim(s, "0123456789+-.eE") != "" {
		return 0, false // ParseFloat also reads words and hexadecimal
	}
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil || math.IsInf(n, 0)
}

// seconds answers a duration between nothing and the longest lifetime.
func seconds(n float64) time.Duration {
	return time.Duration(min(max(n, 0), maxLifetime.Seconds()) * float64(time.Second))
}

// instant reads a point in time: seconds or milliseconds since 1970, whichever gives a
// year of ours, or a date of RFC 3339, whose zone some leave out.
func instant(v any) (time.Time, bool) {
	if n, ok := number(v); ok {
		const millisecondsFrom = 1e11 // in seconds, the year 5138
		if n >= millisecondsFrom {
			n /= 1000
		}
		if n < 0 || n > millisecondsFrom {
			n = min(max(n, 0), millisecondsFrom)
		}
		return time.UnixMilli(int64(n * 1000)).UTC(), true
	}
	s, ok := v.(string)
	if !ok || len(s) > 64 {
		return time.Time{}, false
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04:05Z0700"} {
		if at, err := time.Parse(layout, s); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}
