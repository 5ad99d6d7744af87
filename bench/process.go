package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The patience with a process's start and end.
const (
	startDeadline = 30 * time.Second
	endDeadline   = 40 * time.Second
)

// process is a program that this command started.
type process struct {
	cmd  *exec.Cmd
	out  *output
	done chan error
}

// output gathers what a process prints, up to 1 MiB.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.text.Len() < 1<<20 {
		o.text.Write(p)
	}
	return len(p), nil
}

// String answers what was printed so far.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start runs a program and waits until addr can be connected to.
func (b *bench) start(ctx context.Context, addr string, env []string, name string, args ...string) (*process, error) {
	p, err := spawn(env, name, args...)
	if err != nil {
		return nil, err
	}
	b.running = append(b.running, p)
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	err = p.until(ctx, func() bool {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
	return p, err
}

func spawn(env []string, name string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(name, args...), out: &output{}, done: make(chan error, 1)}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.cmd.Env = append(os.Environ(), env...)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { p.done <- p.cmd.Wait() }()
	return p, nil
}

// until asks every millisecond whether the process is where it should be.
func (p *process) until(ctx context.Context, there func() bool) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !there() {
		select {
		case err := <-p.done:
			p.done <- err
			return fmt.Errorf("%s ended: %w\n%s", p.cmd.Path, err, p.out)
		case <-ctx.Done():
			return fmt.Errorf("%s did not start in time\n%s", p.cmd.Path, p.out)
		case <-tick.C:
		}
	}
	return nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// end asks the process to stop, and makes it if it does not.
func (p *process) end() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	t := time.NewTimer(endDeadline)
	defer t.Stop()
	select {
	case <-p.done:
		return nil
	case <-t.C:
		_ = p.cmd.Process.Kill()
		return fmt.Errorf("%s did not stop when told to", p.cmd.Path)
	}
}

// tick is the unit of CPU time in /proc on Linux (USER_HZ).
const tick = 10 * time.Millisecond

// tree answers a process and all below it.
func tree(root int) []int {
	children := map[int][]int{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if f := statFields(pid); f != nil {
			parent, _ := strconv.Atoi(f[1])
			children[parent] = append(children[parent], pid)
		}
	}
	all := []int{root}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// statFields answers /proc/PID/stat from the state on: [0] state, [1] parent,
// [11] utime, [12] stime, [13] cutime, [14] cstime (proc(5)).
func statFields(pid int) []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(f) < 15 {
		return nil
	}
	return f
}

// cpu answers the CPU time of a process tree, dead children included.
func cpu(root int) time.Duration {
	if root == 0 {
		return 0
	}
	var sum int64
	for _, pid := range tree(root) {
		if f := statFields(pid); f != nil {
			for _, field := range f[11:15] {
				n, _ := strconv.ParseInt(field, 10, 64)
				sum += n
			}
		}
	}
	return time.Duration(sum) * tick
}

// memory answers the resident bytes of a process tree.
func memory(root int) int64 {
	var sum int64
	for _, pid := range tree(root) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			continue
		}
		if f := strings.Fields(string(text)); len(f) > 1 {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			sum += n * int64(os.Getpagesize())
		}
	}
	return sum
}
