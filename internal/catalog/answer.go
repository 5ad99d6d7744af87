package catalog

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"claviger"
)

// decode reads an answer's body as JSON, or answers nil.
func decode(body []byte) any {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	v, err := decodeTree(body)
	if err != nil {
		return nil
	}
	return v
}

// Passed reports whether an answer is what a probe expects: its status, and its
// body where the probe has a condition on it.
func Passed(p *claviger.Probe, status int, body []byte) bool {
	if !slices.Contains(p.ExpectStatus, status) {
		return false
	}
	t := p.ExpectBody
	if t == nil {
		return true
	}
	v, found := find(t.Path, decode(body))
	if t.NotNull {
		return found && v != nil
	}
	if t.Equals == nil {
		return !found || v == nil
	}
	return found && equal(v, t.Equals)
}

// ReadAccount answers whose credential it is, as the answer to a probe tells. What
// it does not tell is empty. Its texts are chosen by whoever has the account: a name
// loses what would not show or turns the line round, an id with such characters is none.
func ReadAccount(p *claviger.Probe, body []byte) claviger.Account {
	if p.AccountID == "" && p.AccountName == "" {
		return claviger.Account{}
	}
	tree := decode(body)
	id := findText(p.AccountID, tree)
	if shown(id) != id {
		id = ""
	}
	return claviger.Account{ID: id, Name: shown(findText(p.AccountName, tree))}
}

// shown answers a text without its invisible characters.
func shown(s string) string {
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}

// maxScopes bounds the scopes that are read from one answer.
const maxScopes = 500

// ReadScopes answers the granted scopes, sorted and distinct, from the answer that
// the permission probe names. known is false if the answer does not tell - a vendor
// may do so for one kind of token only - so that nothing can be concluded.
func ReadScopes(p *claviger.PermissionProbe, header http.Header, body []byte) (scopes []string, known bool) {
	add := func(text string) {
		parts := []string{text}
		if p.Separator != "" {
			parts = strings.Split(text, strings.TrimSpace(p.Separator))
			if strings.TrimSpace(p.Separator) == "" {
				parts = strings.Fields(text)
			}
		}
		for _, s := range parts {
			if s = strings.TrimSpace(s); s != "" && len(scopes) < maxScopes {
				scopes = append(scopes, s)
			}
		}
	}
	if p.Name != "" {
		lines := header.Values(p.Name)
		for _, line := range lines {
			add(line)
		}
		known = len(lines) > 0
	} else {
		path, err := ParsePath(p.Path)
		if err != nil {
			return nil, false
		}
		for _, v := range path.All(decode(body)) {
			switch x := v.(type) {
			case string:
				known = true
				add(x)
			case []any:
				known = true
				for _, item := range x {
					if s, ok := item.(string); ok {
						add(s)
					}
				}
			}
		}
	}
	slices.Sort(scopes)
	return slices.Compact(scopes), known
}

// MissingScopes answers the scopes that the method requires, and those that the
// named actions need, which granted lacks. An entry of the document may name
// alternatives ("repo|public_repo"): any of them will do, and the first stands in
// the answer.
func MissingScopes(p *claviger.PermissionProbe, granted []string, actions ...string) []string {
	needed := slices.Clone(p.Required)
	for _, action := range actions {
		needed = append(needed, p.ForActions[action]...)
	}
	var missing []string
	for _, entry := range needed {
		alternatives := strings.Split(entry, "|")
		if !slices.ContainsFunc(alternatives, func(s string) bool { return slices.Contains(granted, s) }) && !slices.Contains(missing, alternatives[0]) {
			missing = append(missing, alternatives[0])
		}
	}
	return missing
}

// Expired reports whether an answer is one of the vendor's ways to say that the
// credential is no longer valid. body may be nil where [ExpiryNeedsBody] says no.
func Expired(conn *claviger.Connector, status int, header http.Header, body []byte) bool {
	var tree any
	decoded := false
	for i := range conn.Expiry {
		s := &conn.Expiry[i]
		if s.Status != 0 && s.Status != status {
			continue
		}
		switch {
		case s.Header != "":
			if want, _ := s.Equals.(string); slices.Contains(header.Values(s.Header), want) {
				return true
			}
		case s.Path != "":
			if !decoded {
				tree, decoded = decode(body), true
			}
			if v, found := find(s.Path, tree); found && equal(v, s.Equals) {
				return true
			}
		default:
			return true
		}
	}
	return false
}

// ExpiryNeedsBody reports whether an answer of this status can be an expiry signal
// that only its body tells.
func ExpiryNeedsBody(conn *claviger.Connector, status int) bool {
	return slices.ContainsFunc(conn.Expiry, func(s claviger.ExpirySignal) bool {
		return s.Path != "" && (s.Status == 0 || s.Status == status)
	})
}

var resetFormats = []string{"epochSeconds", "epochMilliseconds", "deltaSeconds", "rfc3339", "duration"}

// maxBackoff bounds what a vendor can make a caller wait.
const maxBackoff = time.Hour

// Throttled reports whether an answer says "too many requests", and after how long
// to try again: from Retry-After (RFC 9110, section 10.2.3) or the vendor's reset
// header, at most an hour, 0 if the answer does not tell.
func Throttled(conn *claviger.Connector, status int, header http.Header, now time.Time) (after time.Duration, throttled bool) {
	limit := &conn.RateLimit
	if status != http.StatusTooManyRequests {
		if !slices.Contains(limit.Status, status) {
			return 0, false
		}
		// A status with a second meaning, such as 403, counts only with evidence.
		spent := limit.RemainingHeader != "" && header.Get(limit.RemainingHeader) == "0"
		if !spent && header.Get("Retry-After") == "" {
			return 0, false
		}
	}
	if v := header.Get("Retry-After"); v != "" {
		if seconds, err := strconv.Atoi(v); err == nil {
			return clamp(float64(seconds)), true
		}
		if t, err := http.ParseTime(v); err == nil {
			return clamp(t.Sub(now).Seconds()), true
		}
	}
	if limit.ResetHeader != "" {
		return clamp(untilReset(header.Get(limit.ResetHeader), limit.ResetFormat, now)), true
	}
	return 0, true
}

// untilReset answers seconds.
func untilReset(v, format string, now time.Time) float64 {
	number, err := strconv.ParseFloat(v, 64)
	switch format {
	case "duration":
		d, _ := time.ParseDuration(v)
		return d.Seconds()
	case "rfc3339":
		t, err := time.Parse(time.RFC3339, v)
		if err != nil {
			return 0
		}
		return t.Sub(now).Seconds()
	}
	if err != nil {
		return 0
	}
	at := float64(now.UnixMilli()) / 1000
	switch format {
	case "epochSeconds":
		return number - at
	case "epochMilliseconds":
		return number/1000 - at
	case "deltaSeconds":
		return number
	}
	return 0
}

func clamp(seconds float64) time.Duration {
	if !(seconds > 0) { // NaN included
		return 0
	}
	return time.Duration(min(seconds, maxBackoff.Seconds()) * float64(time.Second))
}

// NextPage answers the position of the next page, for the parameter that the
// action's pagination names; "" on the last page. Of a link only that parameter is
// taken, so that an answer cannot send the next call elsewhere.
func NextPage(p *claviger.Pagination, header http.Header, body []byte) string {
	if p.Type == "link" {
		for _, line := range header.Values("Link") {
			if next := nextLink(line, p.Param); next != "" {
				return next
			}
		}
		return ""
	}
	if p.Next == "" {
		return ""
	}
	next := findText(p.Next, decode(body))
	if u, err := url.Parse(next); err == nil && (u.IsAbs() || strings.HasPrefix(next, "/") && u.RawQuery != "") { // in the form of an address
		return u.Query().Get(p.Param)
	}
	return next
}

// PageInput answers the name of the input that takes the position of the next page:
// the one that fills the pagination's parameter in the query or in the body. ok is
// false if the action offers none.
func PageInput(act *claviger.Action) (name string, ok bool) {
	if act.Pagination == nil {
		return "", false
	}
	for _, q := range act.Query {
		if q.Name == act.Pagination.Param {
			return pageHole(q.Value)
		}
	}
	return bodyHole(act.Body, act.Pagination.Param)
}

func pageHole(t claviger.Template) (string, bool) {
	hole, whole := t.Hole()
	name, input := strings.CutPrefix(hole, "input.")
	return name, whole && input && !strings.Contains(name, ".")
}

func bodyHole(v any, param string) (string, bool) {
	members, _ := v.(map[string]any)
	if t, ok := members[param].(claviger.Template); ok {
		return pageHole(t)
	}
	for _, member := range members {
		if name, ok := bodyHole(member, param); ok {
			return name, true
		}
	}
	return "", false
}

// nextLink reads a Link header (RFC 8288) for rel="next".
func nextLink(line, param string) string {
	if len(line) > 64<<10 {
		return ""
	}
	for rest := line; ; {
		_, after, ok := strings.Cut(rest, "<")
		target, tail, closed := strings.Cut(after, ">")
		if !ok || !closed {
			return ""
		}
		attributes, _, _ := strings.Cut(tail, "<")
		rest = tail
		for attribute := range strings.SplitSeq(attributes, ";") {
			attribute = strings.ToLower(strings.Trim(attribute, ", \t"))
			if attribute == `rel="next"` || attribute == "rel=next" {
				u, err := url.Parse(target)
				if err != nil {
					return ""
				}
				return u.Query().Get(param)
			}
		}
	}
}

// find answers the first value at a path that the document declares.
func find(path string, tree any) (any, bool) {
	p, err := ParsePath(path)
	if err != nil || tree == nil {
		return nil, false
	}
	return p.First(tree)
}

// maxText bounds a name or position that is kept from an answer.
const maxText = 4096

// findText answers a scalar at a path as text, "" for anything else.
func findText(path string, tree any) string {
	if path == "" {
		return ""
	}
	v, _ := find(path, tree)
	s, ok := scalarText(v)
	if !ok || len(s) > maxText || controls(s) {
		return ""
	}
	return s
}

// equal compares JSON scalars; numbers by value.
func equal(a, b any) bool {
	x, okA := a.(json.Number)
	y, okB := b.(json.Number)
	if okA && okB {
		fx, errX := x.Float64()
		fy, errY := y.Float64()
		return errX == nil && errY == nil && fx == fy
	}
	return reflect.DeepEqual(a, b)
}
