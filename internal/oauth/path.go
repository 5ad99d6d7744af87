package oauth

import (
	"errors"
	"strconv"
	"strings"

	"claviger"
)

// path is a compiled path into a token answer: names and indexes only. Answers of
// this kind hold one value per name, so that no search is needed.
type path []any // string or int

var errPath = errors.New("oauth: not a path")

// maxSteps bounds a path.
const maxSteps = 16

// parsePath reads $ followed by .name, ['name'] or [0]. The empty text is the empty
// path.
func parsePath(s string) (path, error) {
	if s == "" {
		return nil, nil
	}
	rest, ok := strings.CutPrefix(s, "$")
	if !ok || len(s) > 256 {
		return nil, errPath
	}
	p := path{}
	for rest != "" {
		var step any
		if step, rest, ok = nextStep(rest); !ok || len(p) == maxSteps {
			return nil, errPath
		}
		p = append(p, step)
	}
	return p, nil
}

func nextStep(s string) (step any, rest string, ok bool) {
	if name, found := strings.CutPrefix(s, "."); found {
		end := strings.IndexAny(name, ".[")
		if end < 0 {
			end = len(name)
		}
		return name[:end], name[end:], end > 0 && !strings.ContainsAny(name[:end], "*'\"]$ ")
	}
	inner, rest, ok := strings.Cut(strings.TrimPrefix(s, "["), "]")
	if !ok || s[0] != '[' || inner == "" {
		return nil, "", false
	}
	if quote := inner[0]; quote == '\'' || quote == '"' {
		name := strings.Trim(inner, string(quote))
		return name, rest, len(inner) == len(name)+2 && name != "" && !strings.ContainsAny(name, `\'"`)
	}
	i, err := strconv.ParseUint(inner, 10, 16)
	return int(i), rest, err == nil && strconv.FormatUint(i, 10) == inner
}

// at answers the value that a path names. A null is no value.
func (p path) at(v any) (any, bool) {
	for _, step := range p {
		switch step := step.(type) {
		case string:
			members, ok := v.(map[string]any)
			if !ok {
				return nil, false
			}
			v = members[step]
		case int:
			items, ok := v.([]any)
			if !ok || step >= len(items) {
				return nil, false
			}
			v = items[step]
		}
	}
	return v, v != nil
}

// find answers the value of a declared path, or of the first default that has one if
// none is declared. An unreadable path, which Resolve refuses, names nothing.
func find(tree any, declared string, defaults ...string) (any, bool) {
	if declared != "" {
		defaults = []string{declared}
	}
	for _, text := range defaults {
		p, err := parsePath(text)
		if err != nil {
			continue
		}
		if v, ok := p.at(tree); ok {
			return v, true
		}
	}
	return nil, false
}

// text answers the first string of the declared path, or of the defaults; anything
// else is none.
func text(tree any, declared string, defaults ...string) string {
	if declared != "" {
		defaults = []string{declared}
	}
	for _, at := range defaults {
		v, _ := find(tree, at)
		if s, ok := v.(string); ok {
			return s
		}
	}
	return ""
}

// paths answers the declared paths of a token answer by their names in the document.
func paths(r claviger.OAuthTokenResponse) map[string]string {
	return map[string]string{
		"accessToken": r.AccessToken, "refreshToken": r.RefreshToken, "idToken": r.IDToken, "tokenType": r.TokenType,
		"expiresIn": r.ExpiresIn, "expiresAt": r.ExpiresAt, "refreshExpiresIn": r.RefreshExpiresIn,
		"scope": r.Scope, "error": r.Error, "ok": r.OK,
	}
}
