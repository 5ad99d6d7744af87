package catalog

import (
	"net/url"
	"strings"

	"claviger/internal/document"
)

// skeleton maps a key to what a hurried reader sees: two keys of the same skeleton
// can be taken for one another.
func skeleton(key string) string { return similar.Replace(document.Fold(key)) }

var similar = strings.NewReplacer("-", "", "0", "o", "1", "l", "i", "l", "5", "s", "3", "e", "rn", "m", "vv", "w")

// safeLink reports whether s is a complete https address without credentials.
func safeLink(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "https" && u.User == nil && u.Opaque == "" &&
		plainHost(strings.ToLower(u.Hostname())) && !strings.ContainsAny(s, " \t\r\n\"'<>\\")
}
