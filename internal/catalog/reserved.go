package catalog

import "strings"

// reservedKeys are words of routes, of file systems and of languages' object
// models, and names that would speak for claviger itself.
var reservedKeys = []string{
	"admin", "api", "auth", "builtin", "built-in", "catalog", "claviger", "connector", "connectors", "connections", "console", "custom",
	"default", "docs", "healthz", "internal", "login", "mcp", "metrics", "new", "none", "null", "oauth", "openapi", "prototype",
	"constructor", "proxy", "public", "readyz", "root", "schema", "schemas", "secret", "secrets", "self", "session", "settings", "shared",
	"system", "true", "false", "undefined", "v1", "v2", "well-known", "widget", "www", "con", "prn", "aux", "nul",
}

// reserved answers why a connector's key is not free, or "".
func reserved(key string) string {
	for _, r := range reservedKeys {
		if key == r {
			return "is a reserved word"
		}
	}
	if len(key) == 4 && (strings.HasPrefix(key, "com") || strings.HasPrefix(key, "lpt")) && key[3] >= '0' && key[3] <= '9' {
		return "is a reserved word"
	}
	if skeleton(key) == skeleton("claviger") {
		return "can be taken for claviger itself"
	}
	return ""
}
