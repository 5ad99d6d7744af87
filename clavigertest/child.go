package clavigertest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Program is the built command.
type Program struct{ path string }

// programs is where [Run] keeps what was built.
var programs struct {
	sync.Mutex
	folder string
}

// Run runs a package's tests and answers the code to exit with. Meanwhile the program is
// built once for all of them.
func Run(m *testing.M) int {
	folder, err := os.MkdirTemp("", "claviger-programs-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(folder) }()
	programs.folder = folder
	return m.Run()
}

// Build builds the program, with build tags if any are given. The package's TestMain must
// call [Run].
func Build(t testing.TB, tags string) Program {
	t.Helper()
	programs.Lock()
	defer programs.Unlock()
	if programs.folder == "" {
		t.Fatal("TestMain does not call clavigertest.Run")
	}
	p := Program{filepath.Join(programs.folder, "claviger-"+tags)}
	if _, err := os.Stat(p.path); err == nil {
		return p
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-tags", tags, "-o", p.path, "claviger/cmd/claviger")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		_ = os.Remove(p.path)
		t.Fatalf("building the program: %v\n%s", err, out)
	}
	return p
}

// Path answers where the program lies.
func (p Program) Path() string { return p.path }

// Run runs the program to its end, in an environment that has nothing but env, and
// answers its exit code and what it printed.
func (p Program) Run(t testing.TB, env []string, stdin string, args ...string) (code int, output string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), p.path, args...)
	cmd.Env = env
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = io.WriteString(in, stdin)
		_ = in.Close()
	}()
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// Child is "claviger serve" as a process of its own.
type Child struct {
	URL, AdminURL string
	Stderr        *Log
	// Of the first organization, read off the first start's output.
	Key, ClientID, ClientSecret string

	cmd    *exec.Cmd
	stdout string // path of the file that it writes to
	ended  chan struct{}
}

// Serve starts the server in an environment that has nothing but env, on free ports,
// and waits until it listens. It answers nil if the process ended before that.
func (p Program) Serve(t testing.TB, env []string) *Child {
	t.Helper()
	c := &Child{Stderr: &Log{}, stdout: filepath.Join(t.TempDir(), "stdout"), ended: make(chan struct{})}
	c.cmd = exec.Command(p.path, "serve")
	c.cmd.Env = append([]string{"CLAVIGER_ADDR=127.0.0.1:0", "CLAVIGER_ADMIN_ADDR=127.0.0.1:0", "GOTRACEBACK=all"}, env...)
	out, err := os.Create(c.stdout) // a file: what was written is there to be read at once
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	c.cmd.Stdout = out
	stderr, err := c.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Kill)
	listening := make(chan struct{})
	go c.follow(stderr, listening)
	timer := time.NewTimer(Patience)
	defer timer.Stop()
	select {
	case <-listening:
	case <-c.ended:
		return nil
	case <-timer.C:
		t.Fatalf("the server did not listen within %s:\n%s", Patience, c.Stderr)
	}
	first := regexp.MustCompile(`(?m)^(client id|client secret|API key):\s+(\S+)$`)
	for _, m := range first.FindAllStringSubmatch(c.Stdout(t), -1) {
		switch m[1] {
		case "client id":
			c.ClientID = m[2]
		case "client secret":
			c.ClientSecret = m[2]
		default:
			c.Key = m[2]
		}
	}
	return c
}

// follow keeps what the child logs, learns its addresses from it, and waits for its end.
func (c *Child) follow(stderr io.Reader, listening chan<- struct{}) {
	defer close(c.ended)
	lines := bufio.NewReader(io.TeeReader(stderr, c.Stderr))
	var once sync.Once
	for {
		text, err := lines.ReadBytes('\n')
		var line struct{ Msg, Address, Admin string }
		if json.Unmarshal(text, &line) == nil && line.Msg == "listening" {
			once.Do(func() {
				c.URL, c.AdminURL = "http://"+line.Address, "http://"+line.Admin
				close(listening)
			})
		}
		if err != nil {
			_ = c.cmd.Wait()
			return
		}
	}
}

// Stdout answers what the process has written to its standard output.
func (c *Child) Stdout(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(c.stdout)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// PID answers the process's id.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Kill ends the process as kill -9 does and waits for its end.
func (c *Child) Kill() {
	_ = c.cmd.Process.Kill()
	<-c.ended
}

// Signal sends a signal and waits for the process's end.
func (c *Child) Signal(signal syscall.Signal) {
	_ = c.cmd.Process.Signal(signal)
	<-c.ended
}

// Ended is closed when the process has ended.
func (c *Child) Ended() <-chan struct{} { return c.ended }

// As answers a Server for the child's addresses, for [Server.Do] and its like; what
// belongs to a process of one's own (App, Logs, Dials) it does not have.
func (c *Child) As(t testing.TB) *Server {
	return &Server{t: t, URL: c.URL, AdminURL: c.AdminURL, Key: c.Key, ClientID: c.ClientID, ClientSecret: c.ClientSecret}
}
