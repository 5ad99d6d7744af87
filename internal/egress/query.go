package egress

import (
	"slices"
	"strings"

	"claviger"
)

// The caps of a query.
const (
	maxQuery  = 64 << 10
	maxParams = 10_000
)

func errQuery(why string) *claviger.Error {
	e := claviger.Errorf(claviger.KindUnreadable, "invalid_query", "The query is refused: %s.", why)
	e.Param = "query"
	return e
}

// CheckQuery refuses a raw query that is too long, has too many parameters (so that
// none can be hidden behind a server's own limit), or has bytes that end a request
// line or a query. It is otherwise kept as it is: semicolons and malformed escapes
// may mean something to the vendor.
func CheckQuery(rawQuery string) error {
	if len(rawQuery) > maxQuery {
		return errQuery("it is longer than 64 KiB")
	}
	params := 1
	for _, c := range []byte(rawQuery) {
		switch {
		case c <= ' ' || c == 0x7f || c == '#':
			return errQuery("it has a character that must be escaped")
		case c == '&' || c == ';':
			params++
		}
	}
	if params > maxParams {
		return errQuery("it has more than 10,000 parameters")
	}
	return nil
}

// StripQuery removes the parameters that some server may take for one of the names:
// the credential's own, which the broker then adds, so that it is there exactly
// once. Names are compared decoded, without case, and as PHP folds them
// (api.key and api_key[] are api_key); ";" separates too. All else keeps its bytes.
func StripQuery(rawQuery string, names ...string) string {
	if rawQuery == "" || len(names) == 0 {
		return rawQuery
	}
	folded := make([]string, len(names))
	for i, name := range names {
		folded[i] = foldParam(name)
	}
	var out strings.Builder
	for rest, separator := rawQuery, ""; ; {
		end := strings.IndexAny(rest, "&;")
		param := rest
		if end >= 0 {
			param = rest[:end]
		}
		if !injected(param, folded) {
			if out.Len() > 0 {
				out.WriteString(separator)
			}
			out.WriteString(param)
		}
		if end < 0 {
			return out.String()
		}
		separator, rest = rest[end:end+1], rest[end+1:]
	}
}

func injected(param string, folded []string) bool {
	name, _, _ := strings.Cut(param, "=")
	once := unescape(strings.ReplaceAll(name, "+", " "))
	if slices.Contains(folded, foldParam(once)) {
		return true
	}
	// Twice encoded names fool filters that decode twice; none of ours does, some
	// gateway of the vendor's may.
	return strings.Contains(once, "%") && slices.Contains(folded, foldParam(unescape(once)))
}

// foldParam answers the name as the laxest server reads it.
func foldParam(name string) string {
	if i := strings.IndexAny(name, "[\x00"); i > 0 {
		name = name[:i]
	}
	out := []byte(strings.ToLower(strings.TrimSpace(name)))
	for i, c := range out {
		if c == '.' || c == ' ' {
			out[i] = '_'
		}
	}
	return string(out)
}
