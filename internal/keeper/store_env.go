package keeper

import (
	"context"
	"strings"

	"claviger"
)

// DefaultEnvPrefix starts the variables of the store "env:".
const DefaultEnvPrefix = "CLAVIGER_SECRET_"

type envStore struct {
	prefix string
	Options
}

func openEnv(prefix string, o Options) (Store, error) {
	if prefix == "" {
		prefix = DefaultEnvPrefix
	}
	for _, c := range []byte(prefix) {
		if c != '_' && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return nil, storeError("env: takes a prefix of A-Z, 0-9 and underscores.")
		}
	}
	return &envStore{prefix: prefix, Options: o}, nil
}

// Get implements [Store].
func (s *envStore) Get(_ context.Context, org claviger.OrganizationID, path string) (claviger.Secret, string, error) {
	where, err := s.locate(org, path)
	if err != nil {
		return claviger.Secret{}, "", err
	}
	name, err := EnvName(where)
	if err != nil {
		return claviger.Secret{}, "", err
	}
	value, ok := s.LookupEnv(s.prefix + name)
	if !ok || value == "" {
		return claviger.Secret{}, "", missingSecret(path)
	}
	// A process's environment changes only by a restart.
	return claviger.NewSecretString(value), "env", nil
}

// EnvName answers the part of a variable's name, after the prefix, that stands for
// a secret's path: upper case, "/" as "__", "-" as "_DASH_" and "." as "_DOT_".
// kv://shared/acme/api-key is SHARED__ACME__API_DASH_KEY.
//
// No two paths share a name: a path that would is refused with code
// "ambiguous_secret_path" (capital letters, two separators in a row or one at a
// segment's end, and the words "dash" and "dot" between separators).
func EnvName(path string) (string, error) {
	var name strings.Builder
	for i, segment := range strings.Split(path, "/") {
		if i > 0 {
			name.WriteString("__")
		}
		word := 0 // where the current word starts
		for j := 0; j <= len(segment); j++ {
			if j < len(segment) && !strings.ContainsRune("._-", rune(segment[j])) {
				if c := segment[j]; c >= 'A' && c <= 'Z' {
					return "", ambiguousPath()
				}
				continue
			}
			switch segment[word:j] {
			case "", "dash", "dot":
				return "", ambiguousPath()
			}
			name.WriteString(strings.ToUpper(segment[word:j]))
			if j < len(segment) {
				name.WriteString(map[byte]string{'_': "_", '-': "_DASH_", '.': "_DOT_"}[segment[j]])
			}
			word = j + 1
		}
	}
	return name.String(), nil
}

func ambiguousPath() *claviger.Error {
	return claviger.Errorf(claviger.KindInvalid, "ambiguous_secret_path",
		"This path has no unambiguous environment variable. Use lower case, single separators inside segments, and neither \"dash\" nor \"dot\" as a word.")
}
