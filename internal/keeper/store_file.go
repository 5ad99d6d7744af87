package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"claviger"
)

// maxValue caps one value.
const maxValue = 64 << 10

type folderStore struct {
	root *os.Root
	Options
}

func openFolder(path string, o Options) (Store, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, storeError("The folder cannot be opened.").With(err)
	}
	return &folderStore{root: root, Options: o}, nil
}

// Get implements [Store]. Links are followed inside the folder alone, which is how
// orchestrators mount their secrets.
func (s *folderStore) Get(_ context.Context, org claviger.OrganizationID, path string) (claviger.Secret, string, error) {
	where, err := s.locate(org, path)
	if err != nil {
		return claviger.Secret{}, "", err
	}
	// Without O_NONBLOCK a FIFO in the folder would block the caller for ever.
	f, err := s.root.OpenFile(filepath.FromSlash(where), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return claviger.Secret{}, "", missingSecret(path)
	}
	if err != nil {
		return claviger.Secret{}, "", unreadableSecret(path, err)
	}
	defer f.Close()
	value, info, err := readCapped(f, maxValue)
	defer clear(value)
	if err != nil {
		return claviger.Secret{}, "", unreadableSecret(path, err)
	}
	value = trimLineEnd(value)
	if len(value) == 0 {
		return claviger.Secret{}, "", missingSecret(path)
	}
	return claviger.NewSecret(value), version(info), nil
}

// readCapped reads a regular file of at most limit bytes.
func readCapped(f *os.File, limit int64) ([]byte, fs.FileInfo, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, errors.New("not a regular file")
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("more than %d bytes", limit)
	}
	return b, info, err
}

// trimLineEnd drops one final line end, which editors and echo add.
func trimLineEnd(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\n' {
		if b = b[:n-1]; n > 1 && b[n-2] == '\r' {
			b = b[:n-2]
		}
	}
	return b
}

// version tells two states of a file apart without saying anything of its content.
func version(info fs.FileInfo) string {
	return strconv.FormatInt(info.ModTime().UnixNano(), 36) + "-" + strconv.FormatInt(info.Size(), 36)
}
