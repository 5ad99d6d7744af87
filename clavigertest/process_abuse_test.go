package clavigertest_test

import (
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"claviger/clavigertest"
)

// lowly is a user without any right of root's, which root runs things as; who is not root
// runs them as it is.
const lowly = 65534

// as makes a command run as an ordinary user in a folder of its own, as many core dumps
// allowed as can be.
func as(t *testing.T, folder string, name string, args ...string) *osexec.Cmd {
	t.Helper()
	cmd := osexec.CommandContext(t.Context(), "sh", append([]string{"-c", `ulimit -S -c "$(ulimit -H -c)"; exec "$0" "$@"`, name}, args...)...)
	cmd.Dir = folder
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: lowly, Gid: lowly}}
	}
	return cmd
}

// TestAbuse_180_ItsMemoryIsClosed: neither a core dump nor another process of the same user
// gets at the memory of a server. Root does, always.
func TestAbuse_180_ItsMemoryIsClosed(t *testing.T) {
	program := clavigertest.Build(t, "")
	folder := t.TempDir()
	for _, path := range []string{filepath.Dir(program.Path()), filepath.Dir(folder)} {
		if err := os.Chmod(path, 0o755); err != nil { // for who is not root
			t.Fatal(err)
		}
	}
	if os.Getuid() == 0 {
		if err := os.Chown(folder, lowly, lowly); err != nil {
			t.Fatal(err)
		}
	}
	server := as(t, folder, program.Path(), "serve")
	server.Env = []string{"CLAVIGER_ADDR=127.0.0.1:0", "CLAVIGER_ADMIN_ADDR=127.0.0.1:0", "CLAVIGER_DATA=" + filepath.Join(folder, "data"), "GOTRACEBACK=crash", "PATH=" + os.Getenv("PATH")}
	log := &clavigertest.Log{}
	server.Stderr = log
	other := as(t, folder, "sleep", "600")
	for _, cmd := range []*osexec.Cmd{server, other} {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	}
	eventually(t, "the server listens", func() bool { return strings.Contains(log.String(), `"listening"`) })
	eventually(t, "the other process is itself", func() bool {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", other.Process.Pid))
		return string(text) == "sleep\n"
	})
	if strings.Contains(log.String(), "can still be dumped") {
		t.Error(log)
	}

	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", server.Process.Pid))
	if err != nil || !regexp.MustCompile(`(?m)^Max core file size +0 +0 `).Match(limits) {
		t.Errorf("%v\n%s", err, limits)
	}
	// What guards these files is what guards ptrace(2) and with it gcore.
	peep := func(pid int, file string) error {
		return as(t, folder, "head", "-c", "1", fmt.Sprintf("/proc/%d/%s", pid, file)).Run()
	}
	for _, file := range []string{"environ", "maps", "auxv"} {
		if peep(server.Process.Pid, file) == nil {
			t.Errorf("another process of the same user reads %s", file)
		}
		if err := peep(other.Process.Pid, file); err != nil {
			t.Errorf("it reads no ordinary process's %s either, so that the test says nothing: %v", file, err)
		}
	}

	if err := server.Process.Signal(syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	_ = server.Wait()
	status, _ := server.ProcessState.Sys().(syscall.WaitStatus)
	if !status.Signaled() || status.CoreDump() {
		t.Errorf("it ended with %v, core dumped: %v", server.ProcessState, status.CoreDump())
	}
	if cores, _ := filepath.Glob(filepath.Join(folder, "*core*")); len(cores) != 0 {
		t.Errorf("it left %v", cores)
	}
	_ = other.Process.Signal(syscall.SIGABRT)
	_ = other.Wait()
	status, _ = other.ProcessState.Sys().(syscall.WaitStatus)
	t.Logf("an ordinary process leaves a core here: %v", status.CoreDump())
}
