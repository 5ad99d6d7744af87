package keeper

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"claviger"
)

func reveal(s claviger.Secret) (v string) {
	s.Use(func(b []byte) { v = string(b) })
	return v
}

var fixed = bytes.Repeat([]byte("k"), KeySize)

func writeKey(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(base64.StdEncoding.EncodeToString(fixed)+"\n"), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// refused checks that err is the clear, harmless kind.
func refused(t *testing.T, err error) {
	t.Helper()
	var e *claviger.Error
	if !errors.As(err, &e) || e.Kind != claviger.KindInvalid || e.Param != "master.key" {
		t.Fatalf("%v; want an invalid error that names the setting", err)
	}
	for _, form := range []string{string(fixed), base64.StdEncoding.EncodeToString(fixed)} {
		if strings.Contains(err.Error(), form[:8]) {
			t.Fatalf("the error holds the key: %v", err)
		}
	}
}

func TestOpenCreatesOnce(t *testing.T) {
	keeper := Keeper{Random: rand.Reader}
	path := filepath.Join(t.TempDir(), "new", "folder", "master.key")
	if _, _, err := keeper.Open(t.Context(), "file:"+path, false); err == nil {
		t.Fatal("a missing key was opened")
	} else {
		refused(t, err)
	}
	first, info, err := keeper.Open(t.Context(), "file:"+path, true)
	if err != nil || !info.Created || info.Path != path || info.Scheme != "file" || len(reveal(first)) != KeySize {
		t.Fatalf("%+v, %v", info, err)
	}
	for _, create := range []bool{true, false} {
		again, info, err := keeper.Open(t.Context(), "file://"+path, create)
		if err != nil || info.Created || reveal(again) != reveal(first) {
			t.Fatalf("create %v: %+v, %v", create, info, err)
		}
	}
	stat, err := os.Stat(path)
	if err != nil || stat.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", stat.Mode(), err)
	}
	if folder, _ := os.Stat(filepath.Dir(path)); folder.Mode().Perm() != 0o700 {
		t.Errorf("folder mode %v", folder.Mode())
	}
	entries, _ := os.ReadDir(filepath.Dir(path))
	if len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestOpenByManyAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	var keys [8]string
	var created [8]bool
	var workers sync.WaitGroup
	for i := range keys {
		workers.Go(func() {
			key, info, err := Keeper{Random: rand.Reader}.Open(t.Context(), "file:"+path, true)
			if err != nil {
				t.Error(err)
			}
			keys[i], created[i] = reveal(key), info.Created
		})
	}
	workers.Wait()
	makers := 0
	for i := range keys {
		if keys[i] != keys[0] {
			t.Fatal("two processes have two master keys")
		}
		if created[i] {
			makers++
		}
	}
	if makers != 1 {
		t.Errorf("%d made the key", makers)
	}
}

func TestAbuse_277_KeyFile(t *testing.T) {
	keeper := Keeper{Random: rand.Reader}
	open := func(t *testing.T, path string, create bool) (claviger.Secret, error) {
		t.Helper()
		key, _, err := keeper.Open(t.Context(), "file:"+path, create)
		return key, err
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o644, 0o660, 0o666, 0o620, 0o601, 0o777} {
		t.Run(fmt.Sprintf("mode %04o", mode), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key")
			writeKey(t, path, mode)
			key, err := open(t, path, true)
			refused(t, err)
			if !key.Empty() || !strings.Contains(err.Error(), "chmod 600") {
				t.Errorf("%v", err)
			}
		})
	}
	for _, mode := range []os.FileMode{0o600, 0o400} {
		t.Run(fmt.Sprintf("mode %04o", mode), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key")
			writeKey(t, path, mode)
			if key, err := open(t, path, false); err != nil || reveal(key) != string(fixed) {
				t.Fatalf("%v", err)
			}
		})
	}
	t.Run("owner", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("only root can give a file away")
		}
		path := filepath.Join(t.TempDir(), "key")
		writeKey(t, path, 0o600)
		if err := os.Chown(path, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		_, err := open(t, path, false)
		refused(t, err)
	})
	t.Run("symlink", func(t *testing.T) {
		dir := t.TempDir()
		writeKey(t, filepath.Join(dir, "real"), 0o600)
		if err := os.Symlink("real", filepath.Join(dir, "key")); err != nil {
			t.Fatal(err)
		}
		_, err := open(t, filepath.Join(dir, "key"), true)
		refused(t, err)
	})
	t.Run("dangling symlink", func(t *testing.T) {
		dir := t.TempDir()
		target := filepath.Join(dir, "elsewhere")
		if err := os.Symlink(target, filepath.Join(dir, "key")); err != nil {
			t.Fatal(err)
		}
		_, err := open(t, filepath.Join(dir, "key"), true)
		refused(t, err)
		if _, err := os.Lstat(target); err == nil {
			t.Fatal("the key was written through the link")
		}
	})
	t.Run("planted temporary file", func(t *testing.T) {
		// The attacker knows the random name and links it to a victim's file.
		dir := t.TempDir()
		victim := filepath.Join(dir, "victim")
		if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		random := bytes.Repeat([]byte{7}, 100)
		if err := os.Symlink(victim, filepath.Join(dir, ".key.0707070707070707")); err != nil {
			t.Fatal(err)
		}
		_, _, err := Keeper{Random: bytes.NewReader(random)}.Open(t.Context(), "file:"+filepath.Join(dir, "key"), true)
		if text, _ := os.ReadFile(victim); string(text) != "precious" {
			t.Fatalf("the victim's file holds %q", text)
		}
		if err == nil {
			t.Fatal("the key was made over a planted link")
		}
	})
	for name, plant := range map[string]func(path string) error{
		"folder": func(path string) error { return os.Mkdir(path, 0o700) },
		"FIFO":   func(path string) error { return mkfifo(path) },
		"device": func(path string) error { return os.Symlink("/dev/zero", path) },
		"empty":  func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"short":  func(path string) error { return os.WriteFile(path, []byte("a2V5"), 0o600) },
		"long":   func(path string) error { return os.WriteFile(path, bytes.Repeat([]byte("A"), 1<<20), 0o600) },
		"binary": func(path string) error { return os.WriteFile(path, fixed, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key")
			if err := plant(path); err != nil {
				t.Fatal(err)
			}
			before, _ := os.Lstat(path)
			_, err := open(t, path, true)
			refused(t, err)
			if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) || after.Size() != before.Size() {
				t.Errorf("the file was changed: %v", err)
			}
		})
	}
}

func TestOpenWithoutRandomness(t *testing.T) {
	for n := range KeySize + 8 {
		path := filepath.Join(t.TempDir(), "key")
		_, _, err := Keeper{Random: io.LimitReader(rand.Reader, int64(n))}.Open(t.Context(), "file:"+path, true)
		refused(t, err)
		if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 0 {
			t.Fatalf("with %d random bytes: %v", n, entries)
		}
	}
}

func TestOpenURLs(t *testing.T) {
	std := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xfb, 0xff}, 16))
	safe := base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{0xfb, 0xff}, 16))
	for _, url := range []string{"base64key:" + std, "base64key:" + safe, "base64key:" + std + "\n"} {
		key, info, err := Keeper{}.Open(t.Context(), url, true)
		if err != nil || reveal(key) != strings.Repeat("\xfb\xff", 16) || info != (Info{Scheme: "base64key"}) {
			t.Errorf("%v, %v", info, err)
		}
	}
	valid := base64.StdEncoding.EncodeToString(fixed)
	for _, url := range []string{
		"", "file:", "file://", "file:a\x00b", valid, "base64key:", "base64key:" + valid[:40], "base64key:" + valid + "AAAA", "base64key:" + valid[:20] + "!" + valid[21:],
		"base64:" + valid, "unknown:" + valid, "awskms:alias/x", "gcpkms:projects/x", "azurekeyvault:https://x", "hashivault:x", "FILE:/x",
	} {
		key, _, err := Keeper{Random: rand.Reader}.Open(t.Context(), url, true)
		refused(t, err)
		if !key.Empty() {
			t.Errorf("%q opened", url)
		}
		if strings.Contains(err.Error(), valid[:12]) {
			t.Errorf("the error repeats the setting: %v", err)
		}
	}
	for _, scheme := range []string{"awskms", "gcpkms", "azurekeyvault", "hashivault"} {
		if _, _, err := (Keeper{}).Open(t.Context(), scheme+":x", false); !strings.Contains(err.Error(), "not available in this build") || !strings.Contains(err.Error(), "file:PATH") {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}
