package keeper

import (
	"context"
	"os"
	"strings"
	"time"

	"claviger"
)

// Store is an external store of kv:// secrets. It is read only, and read at each
// use, so that a changed value takes effect at once.
//
// Get answers the value at a path (without "kv://") and an opaque version that
// changes when the value may have. It answers an *Error of KindReauthorize with
// code "secret_missing" and the path if there is no value.
type Store interface {
	Get(ctx context.Context, org claviger.OrganizationID, path string) (value claviger.Secret, version string, err error)
}

// Options are what a store needs beside its specification.
type Options struct {
	// Home is the instance's own organization, whose paths are used as they are. The
	// paths of every other organization lie below "organizations/ID/", so that no
	// tenant can read another's values by naming them.
	Home claviger.OrganizationID
	// LookupEnv answers an environment variable: os.LookupEnv outside tests.
	LookupEnv func(name string) (string, bool)
	// Now is the clock: time.Now outside tests.
	Now func() time.Time
}

// OpenStore opens the store that a specification (the setting "secrets") names:
//
//	env:            environment variables that start with CLAVIGER_SECRET_; see [EnvName]
//	env:PREFIX      environment variables that start with PREFIX
//	file:FOLDER     a folder with one file for each path
//	file:FILE.yaml  a YAML file of nested mappings or whole paths (also .yml)
//
// Errors are *claviger.Error with Param "secrets".
func OpenStore(spec string, o Options) (Store, error) {
	scheme, rest, _ := strings.Cut(spec, ":")
	switch scheme {
	case "env":
		return openEnv(rest, o)
	case "file":
		rest = strings.TrimPrefix(rest, "//")
		info, err := os.Stat(rest)
		if err != nil {
			return nil, storeError("file: names nothing that can be read.").With(err)
		}
		if info.IsDir() {
			return openFolder(rest, o)
		}
		return openYAML(rest, o)
	case "hashivault", "openbao", "awssecrets", "gcpsecrets", "azuresecrets":
		return nil, storeError("%s: is not available in this build. Available are env: and file:PATH.", scheme)
	}
	return nil, storeError("The scheme is unknown. Use env: or file:PATH.")
}

func storeError(format string, args ...any) *claviger.Error {
	return claviger.Invalid("secrets", "invalid_secret_store", format, args...)
}

// tenantsFolder holds the values of all organizations but the instance's own.
const tenantsFolder = "organizations"

// locate answers where an organization's path lies in the store. The path is
// checked again, whoever checked it before.
func (o Options) locate(org claviger.OrganizationID, path string) (string, error) {
	if _, err := claviger.ParseSecretPath(claviger.SecretScheme + path); err != nil {
		return "", err
	}
	if org != "" && org == o.Home {
		if first, _, _ := strings.Cut(path, "/"); strings.EqualFold(first, tenantsFolder) {
			return "", missingSecret(path)
		}
		return path, nil
	}
	if !claviger.ValidID(claviger.PrefixOrganization, string(org)) {
		return "", missingSecret(path)
	}
	return tenantsFolder + "/" + string(org) + "/" + path, nil
}

func missingSecret(path string) *claviger.Error {
	e := claviger.Errorf(claviger.KindReauthorize, "secret_missing", "The secret store has no value at this path. Store one, then try again.")
	e.Path = claviger.SecretScheme + path
	return e
}

func unreadableSecret(path string, cause error) *claviger.Error {
	e := claviger.Errorf(claviger.KindUnavailable, "secret_unavailable", "The secret store could not be read. Ask the operator of this instance.")
	e.Path = claviger.SecretScheme + path
	return e.With(cause)
}
