package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestKeychain runs testdata/keychain/*.txtar, each against a server and a Secret Service of
// its own: GNOME's, on a bus of its own, with its files in a temporary folder. $LOCKED is the
// bus of another one, that nobody has opened.
func TestKeychain(t *testing.T) {
	for _, name := range []string{"dbus-run-session", "gnome-keyring-daemon"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Fatalf("no %s in the PATH; `make keyring` installs it: %v", name, err)
		}
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/keychain",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			if err := setUp(e); err != nil {
				return err
			}
			open, err := startSession(e, "open", "printf secret | gnome-keyring-daemon --unlock --components=secrets --daemonize >/dev/null")
			if err != nil {
				return err
			}
			locked, err := startSession(e, "locked", "true") // the bus starts it when it is asked for
			e.Setenv("DBUS_SESSION_BUS_ADDRESS", open)
			e.Setenv("LOCKED", locked)
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// startSession starts a session with a bus, runs a command in it and answers the address of
// the bus, which ends with the script.
func startSession(e *testscript.Env, name, command string) (address string, err error) {
	home := filepath.Join(e.WorkDir, "session-"+name)
	if err := os.Mkdir(home, 0o700); err != nil {
		return "", err
	}
	c := exec.Command("dbus-run-session", "--", "sh", "-c", command+` && echo "$DBUS_SESSION_BUS_ADDRESS" && cat`)
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_RUNTIME_DIR=" + home, "XDG_DATA_HOME=" + filepath.Join(home, "data")}
	c.WaitDelay = 5 * time.Second
	stdin, err := c.StdinPipe()
	if err != nil {
		return "", err
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := c.Start(); err != nil {
		return "", err
	}
	e.Defer(func() {
		_ = stdin.Close() // which ends the session
		_, _ = io.Copy(io.Discard, stdout)
		_ = c.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	return strings.TrimSpace(line), err
}

// A bus that takes calls and answers none does not hold the command line up for ever.
func TestAKeychainThatDoesNotAnswer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bus")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // it only listened
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+path)
	s, c := at(t, map[string]string{"GET /v1/whoami": `200 {"object":"caller","kind":"api_key","id":"key_1"}`})
	delete(s.env, "CLAVIGER_API_KEY")
	run := func(args ...string) (int, string) {
		p, out := s.program(testKey)
		p.keychain, p.patience = findKeychain(os.Getenv), 50*time.Millisecond
		code := p.execute(t.Context(), append(args, "--url", c.URL))
		return code, out.out.String() + out.errs.String()
	}
	if code, text := run("login", "--key-stdin", "--store", "keychain"); code != exitUsage || !strings.Contains(text, "it does not answer") || c.last() != "" {
		t.Errorf("exit %d after %q: %s", code, c.last(), text)
	}
	if code, text := run("login", "--key-stdin"); code != exitOK || !strings.Contains(text, "there is no keychain that can be used") {
		t.Errorf("exit %d: %s", code, text)
	}
	if code, text := run("logout"); code == exitLogin {
		t.Errorf("exit %d: %s", code, text)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "claviger", configFile)); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
