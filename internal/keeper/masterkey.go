package keeper

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"claviger"
)

// KeySize is the size of a master key in bytes.
const KeySize = 32

// maxKeyFile caps what is read of a key file.
const maxKeyFile = 4096

// Info says where a master key came from; it holds nothing secret.
type Info struct {
	Scheme  string // "file" or "base64key"
	Path    string // of a file
	Created bool   // made by this call: tell the operator to move it
}

// Keeper opens master keys. Random makes new ones: crypto/rand.Reader outside tests.
type Keeper struct{ Random io.Reader }

// Open answers the 32-byte master key that a URL names:
//
//	file:PATH         a file of 32 bytes in base64, mode 0600 or tighter, the user's own
//	base64key:BASE64  the key itself, for containers that get it by environment
//
// With create, a missing file is made, with its folder. The file appears whole or
// not at all, and an existing one is never replaced, also when two processes start
// at once. Errors are *claviger.Error with Param "master.key" and never hold the
// key.
func (k Keeper) Open(ctx context.Context, url string, create bool) (claviger.Secret, Info, error) {
	if err := ctx.Err(); err != nil {
		return claviger.Secret{}, Info{}, err
	}
	scheme, rest, ok := strings.Cut(url, ":")
	if !ok {
		// The whole text may be a key whose scheme was forgotten: do not repeat it.
		return claviger.Secret{}, Info{}, keyError("The master key's URL has no scheme. Use file:PATH or base64key:BASE64.")
	}
	switch scheme {
	case "file":
		return k.openFile(rest, create)
	case "base64key":
		secret, ok := decodeKey([]byte(rest))
		if !ok {
			return claviger.Secret{}, Info{}, keyError("base64key: needs %d bytes in base64. Make one with: openssl rand -base64 32", KeySize)
		}
		return secret, Info{Scheme: scheme}, nil
	case "awskms", "gcpkms", "azurekeyvault", "hashivault":
		return claviger.Secret{}, Info{}, keyError("%s: is not available in this build. Available are file:PATH and base64key:BASE64.", scheme)
	}
	return claviger.Secret{}, Info{}, keyError("The master key's scheme is unknown. Use file:PATH or base64key:BASE64.")
}

func keyError(format string, args ...any) *claviger.Error {
	return claviger.Invalid("master.key", "invalid_master_key", format, args...)
}

// decodeKey accepts standard and URL alphabets, padded or not, and one final line
// end.
func decodeKey(text []byte) (claviger.Secret, bool) {
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	text = bytes.TrimRight(text, "=")
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		key := make([]byte, enc.DecodedLen(len(text)))
		n, err := enc.Strict().Decode(key, text)
		if err == nil && n == KeySize {
			secret := claviger.NewSecret(key[:n])
			clear(key)
			return secret, true
		}
		clear(key)
	}
	return claviger.Secret{}, false
}

func (k Keeper) openFile(path string, create bool) (claviger.Secret, Info, error) {
	path = strings.TrimPrefix(path, "//") // file:///etc/key means the same as file:/etc/key
	if path == "" || strings.ContainsRune(path, 0) {
		return claviger.Secret{}, Info{}, keyError("file: needs the path of the master key.")
	}
	info := Info{Scheme: "file", Path: path}
	secret, err := readKey(path)
	if !create || !errors.Is(err, fs.ErrNotExist) {
		return secret, info, missing(err, path)
	}
	if err := k.createKey(path); err == nil {
		info.Created = true
	} else if !errors.Is(err, fs.ErrExist) { // another process was first: its key is the key
		return claviger.Secret{}, info, keyError("The master key file %s could not be made.", path).With(err)
	}
	secret, err = readKey(path)
	return secret, info, missing(err, path)
}

func missing(err error, path string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return keyError("There is no master key file at %s. Restore it from where you keep it; without it nothing stored can be read.", path).With(err)
	}
	return err
}

// readKey reads a key file that is exactly what it should be: a regular file, no
// link, owned by this user, closed to all others. The check is made on the open
// file, and the name must still lead to that very file.
func readKey(path string) (claviger.Secret, error) {
	named, err := os.Lstat(path)
	if err != nil {
		return claviger.Secret{}, keyError("The master key file %s cannot be read.", path).With(err)
	}
	if !named.Mode().IsRegular() {
		return claviger.Secret{}, keyError("The master key %s is not a plain file; symbolic links are refused. Name the file itself.", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return claviger.Secret{}, keyError("The master key file %s cannot be read.", path).With(err)
	}
	defer f.Close()
	opened, err := f.Stat()
	if err != nil || !os.SameFile(named, opened) {
		return claviger.Secret{}, keyError("The master key file %s changed while it was opened.", path).With(err)
	}
	if opened.Mode().Perm()&0o077 != 0 {
		return claviger.Secret{}, keyError("The master key file %s may be read by others (mode %04o). Run: chmod 600 %s", path, opened.Mode().Perm(), path)
	}
	if !ownedByUs(opened) {
		return claviger.Secret{}, keyError("The master key file %s belongs to another user. Run: chown it to the user that runs claviger.", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	defer clear(text)
	if err != nil {
		return claviger.Secret{}, keyError("The master key file %s cannot be read.", path).With(err)
	}
	secret, ok := decodeKey(text)
	if !ok {
		return claviger.Secret{}, keyError("The master key file %s does not hold %d bytes in base64.", path, KeySize)
	}
	return secret, nil
}

// createKey makes the key file: a temporary one, opened O_EXCL so that no link
// planted there is followed, is written and synced, and then given its name by a
// hard link, which fails if the name is taken. It answers fs.ErrExist if so.
func (k Keeper) createKey(path string) error {
	var key [KeySize]byte
	defer clear(key[:])
	if _, err := io.ReadFull(k.Random, key[:]); err != nil {
		return fmt.Errorf("no randomness: %w", err)
	}
	folder, name := filepath.Split(path)
	if folder == "" {
		folder = "."
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()

	var suffix [8]byte
	if _, err := io.ReadFull(k.Random, suffix[:]); err != nil {
		return fmt.Errorf("no randomness: %w", err)
	}
	temporary := fmt.Sprintf(".%s.%x", name, suffix)
	defer func() { _ = root.Remove(temporary) }() // after a success it is a second name of the key
	if err := writeSynced(root, temporary, base64.StdEncoding.AppendEncode(nil, key[:])); err != nil {
		return err
	}
	if err := root.Link(temporary, name); err != nil {
		return err
	}
	return syncFolder(root)
}

func writeSynced(root *os.Root, name string, text []byte) error {
	defer clear(text)
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	return errors.Join(err, f.Sync(), f.Close())
}

// syncFolder makes the new name itself survive a crash.
func syncFolder(root *os.Root) error {
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
