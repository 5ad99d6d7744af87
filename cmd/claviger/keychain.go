package main

import (
	"errors"
	"runtime"
	"time"

	"github.com/zalando/go-keyring"
)

// Where a login's key is kept.
const (
	storeKeychain = "keychain"
	storeFile     = "file"
)

// keychainName is what the program's entries are called in the keychain.
const keychainName = "claviger"

// keychainWait is how long the keychain may take: it may have to ask the person to unlock it.
const keychainWait = time.Minute

var (
	errNoKeychain     = errors.New("this session has none")
	errSilentKeychain = errors.New("it does not answer")
)

// keychain is where the operating system keeps a person's secrets. The errors of Get and
// Delete are [keyring.ErrNotFound] if there is no such entry.
type keychain interface {
	Set(account, token string) error
	Get(account string) (string, error)
	Delete(account string) error
}

// systemKeychain is the macOS Keychain, Windows' Credential Manager, or elsewhere the
// Secret Service of the desktop, over D-Bus.
type systemKeychain struct{}

// Set implements keychain.
func (systemKeychain) Set(account, token string) error {
	return keyring.Set(keychainName, account, token)
}

// Get implements keychain.
func (systemKeychain) Get(account string) (string, error) { return keyring.Get(keychainName, account) }

// Delete implements keychain.
func (systemKeychain) Delete(account string) error { return keyring.Delete(keychainName, account) }

// findKeychain answers this session's keychain, nil if it has none. A session without the
// address of a bus is not one of a desktop, and none is started for it.
func findKeychain(getenv func(string) string) keychain {
	if runtime.GOOS != "darwin" && runtime.GOOS != "windows" && getenv("DBUS_SESSION_BUS_ADDRESS") == "" {
		return nil
	}
	return systemKeychain{}
}

// withKeychain uses the keychain, if there is one and it answers.
func (p *program) withKeychain(use func(keychain) error) error {
	if p.keychain == nil {
		return errNoKeychain
	}
	done := make(chan error, 1)
	go func() { done <- use(p.keychain) }()
	late := time.NewTimer(p.patience)
	defer late.Stop()
	select {
	case err := <-done:
		return err
	case <-late.C:
		return errSilentKeychain
	}
}

// account is what an entry is called: a key is found only for the server that it is for.
func (p *program) account(url string) string {
	if name := p.profileName(); name != "" {
		return url + " " + name
	}
	return url
}

// tokenOf answers the key of a login, "" if there is none.
func (p *program) tokenOf(s stored) (token string, err error) {
	if s.Store != storeKeychain {
		return s.Token, nil
	}
	found := make(chan string, 1)
	err = p.withKeychain(func(k keychain) error {
		token, err := k.Get(p.account(s.URL))
		found <- token
		return err
	})
	switch {
	case errors.Is(err, keyring.ErrNotFound):
		return "", nil
	case err != nil:
		return "", loginError{"Your key is in the keychain, which cannot be read: " + err.Error() + "."}
	}
	return <-found, nil
}

// tryKeychain says that the keychain cannot be used, before anything is put into it.
func (p *program) tryKeychain(url string) error {
	err := p.withKeychain(func(k keychain) error {
		_, err := k.Get(p.account(url))
		return err
	})
	if err == nil || errors.Is(err, keyring.ErrNotFound) {
		return nil
	}
	return usageError{message: "The keychain cannot be used: " + err.Error() + ".", hint: "Use --store file."}
}

// keep stores a login in the place that is wanted; if none is, in the keychain if it can
// be used, else in the file. It answers what the file has now, which always says where the
// server is. A key that was in the keychain before does not stay there.
func (p *program) keep(before, s stored, want string) (stored, error) {
	now := s
	if want != storeFile {
		err := p.withKeychain(func(k keychain) error { return k.Set(p.account(s.URL), s.Token) })
		switch {
		case err == nil:
			now = stored{URL: s.URL, Store: storeKeychain}
		case want == storeKeychain:
			return s, usageError{message: "The keychain did not take the key: " + err.Error() + ".", hint: "Use --store file."}
		}
	}
	if err := p.saveConfig(now); err != nil {
		return s, err
	}
	if before.Store == storeKeychain && (now.Store != storeKeychain || p.account(before.URL) != p.account(now.URL)) {
		_ = p.dropKey(before) // it is of no use any more; the login is kept
	}
	return now, nil
}

// dropKey removes a login's key from the keychain. One that is not there, or need not be, is
// no error.
func (p *program) dropKey(s stored) error {
	err := p.withKeychain(func(k keychain) error { return k.Delete(p.account(s.URL)) })
	if err == nil || errors.Is(err, keyring.ErrNotFound) || s.Store != storeKeychain {
		return nil
	}
	return loginError{"Your key could not be removed from the keychain: " + err.Error() + "."}
}
