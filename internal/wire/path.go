package wire

import (
	"net/url"
	"strings"

	"claviger"
)

// ProxyPath answers what follows /v1/connections/{id}/proxy in an escaped path: the
// part that is meant for the vendor, with its leading slash, or "".
func ProxyPath(escaped string) (rest string, ok bool) {
	tail, ok := strings.CutPrefix(escaped, "/v1/connections/")
	if !ok {
		return "", false
	}
	_, tail, ok = strings.Cut(tail, "/")
	if !ok || tail != "proxy" && !strings.HasPrefix(tail, "proxy/") {
		return "", false
	}
	return tail[len("proxy"):], true
}

// checkPath refuses, before the router cleans anything, every path that two readers
// could take for different ones. own is claviger's part of the escaped path, vendor
// the part behind a proxy route. In the vendor's part an encoded slash and a
// semicolon may have a meaning of the vendor's, so they pass as long as no segment,
// read either way, is empty or made of dots.
func checkPath(own, vendor string) error {
	if own == "" || own[0] != '/' {
		return badPath()
	}
	if !plain(own) {
		if err := checkOwn(own); err != nil {
			return err
		}
	}
	if vendor == "" || plain(vendor) {
		return nil
	}
	decoded, err := url.PathUnescape(vendor)
	if err != nil || strings.ContainsAny(decoded, "\\\x00") || !plainSegments(vendor) || !plainSegments(decoded) {
		return badPath()
	}
	// A vendor that decodes twice must not find dots either.
	if again, err := url.PathUnescape(decoded); err == nil && again != decoded && !plainSegments(again) {
		return badPath()
	}
	return nil
}

// checkOwn looks closely at a path of claviger's own that is not letters alone.
func checkOwn(own string) error {
	lower := strings.ToLower(own)
	for _, no := range []string{"//", ";", "\\", "%2e", "%2f", "%5c", "%00", "%3b"} {
		if strings.Contains(lower, no) {
			return badPath()
		}
	}
	for part := range strings.SplitSeq(own, "/") {
		if part == "." || part == ".." {
			return badPath()
		}
	}
	return nil
}

func badPath() error {
	return claviger.Errorf(claviger.KindUnreadable, "bad_path", "The path must have no dot segments, empty segments, semicolons or encoded slashes and dots.")
}

// plain reports whether a path has nothing that could be read in two ways: nearly all
// paths.
func plain(path string) bool {
	return !strings.ContainsAny(path, "%;\\.\x00") && !strings.Contains(path, "//")
}

// plainSegments reports whether no segment is a dot segment, with or without
// parameters, and none but the last is empty.
func plainSegments(path string) bool {
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, s := range segments {
		name, _, _ := strings.Cut(s, ";")
		if name == "." || name == ".." || s == "" && i < len(segments)-1 {
			return false
		}
	}
	return true
}

// parseQuery is url.ParseQuery, which refuses semicolons and bad escapes instead of
// dropping what it cannot read.
func parseQuery(raw string) (url.Values, error) { return url.ParseQuery(raw) }
