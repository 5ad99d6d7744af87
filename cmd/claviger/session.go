package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"claviger"
)

const (
	defaultURL    = "http://127.0.0.1:8787"
	configFile    = "config.yaml"
	maxConfigSize = 64 << 10
)

// profileNames are what a profile may be called: it is part of a file's name.
var profileNames = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// session is a server and the token to show it.
type session struct {
	URL   string
	Token claviger.Secret
}

// stored is the text of the configuration file. It and the keychain are the only places
// where the command line keeps a token.
type stored struct {
	URL   string `yaml:"url"`
	Token string `yaml:"token,omitempty"`
	Store string `yaml:"store,omitempty"` // storeKeychain: the token is there
}

// there reports whether this is a login.
func (s stored) there() bool { return s.Token != "" || s.Store == storeKeychain }

// session finds the server and its token: flag, environment, file, in this order.
// A stored token is shown to its own server only, so that a changed address cannot be used
// to collect it.
func (p *program) session() (session, error) {
	file, err := p.loadConfig()
	if err != nil {
		return session{}, err
	}
	url := p.address(file.URL)
	if token := p.getenv("CLAVIGER_API_KEY"); token != "" {
		return session{url, claviger.NewSecretString(token)}, nil
	}
	if !file.there() {
		return session{}, loginError{"You are not logged in."}
	}
	if url != file.URL {
		return session{}, loginError{fmt.Sprintf("You are logged in to %s, not to %s.", file.URL, url)}
	}
	token, err := p.tokenOf(file)
	if err == nil && token == "" {
		err = loginError{"You are not logged in."}
	}
	return session{url, claviger.NewSecretString(token)}, err
}

// address answers the server that is meant; known is the one that was logged in to.
func (p *program) address(known string) string {
	for _, url := range []string{p.url, p.getenv("CLAVIGER_URL"), known} {
		if url != "" {
			return strings.TrimRight(url, "/")
		}
	}
	return defaultURL
}

// profileName answers the name of the login that is meant, "" for the only one.
func (p *program) profileName() string { return cmp.Or(p.profile, p.getenv("CLAVIGER_PROFILE")) }

func (p *program) configPath() (string, error) {
	dir, err := p.configDir()
	if err != nil {
		return "", fmt.Errorf("no folder for the configuration: %w", err)
	}
	name := p.profileName()
	if name == "" {
		return filepath.Join(dir, "claviger", configFile), nil
	}
	if !profileNames.MatchString(name) {
		return "", usagef("A profile's name has small letters, digits and dashes, 32 at most.")
	}
	return filepath.Join(dir, "claviger", "profile-"+name+".yaml"), nil
}

// loadConfig reads the file; a missing one is empty. One that others can read is
// refused, because its token must be taken for known.
func (p *program) loadConfig() (stored, error) {
	var s stored
	path, err := p.configPath()
	if err != nil {
		return s, err
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("read the configuration: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return s, usageError{
			message: fmt.Sprintf("Others can read %s (mode %04o).", path, info.Mode().Perm()),
			hint:    "Revoke the key it holds, then: chmod 600 " + path,
		}
	}
	if info.Size() > maxConfigSize {
		return s, fmt.Errorf("%s is too large to be a configuration", path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return s, fmt.Errorf("read the configuration: %w", err)
	}
	if err := yaml.Unmarshal(b, &s); err != nil {
		// The parser's own text may quote the token.
		return stored{}, usageError{message: path + " cannot be read as YAML.", hint: "Log in again with: claviger login"}
	}
	return s, nil
}

// saveConfig replaces the file in one step; it is never readable by others, not
// even for a moment.
func (p *program) saveConfig(s stored) error {
	path, err := p.configPath()
	if err != nil {
		return err
	}
	b, err := yaml.Marshal(s)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("store the configuration: %w", err)
	}
	if err := replaceFile(path, b, 0o600); err != nil {
		return fmt.Errorf("store the configuration: %w", err)
	}
	return nil
}

func (p *program) removeConfig() error {
	path, err := p.configPath()
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the configuration: %w", err)
	}
	return nil
}
