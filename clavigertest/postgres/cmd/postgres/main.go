//go:build unix

// Command postgres runs a command beside a temporary PostgreSQL cluster:
//
//	postgres [-fast] -- COMMAND ARGS...
//
// The cluster listens on a free port of 127.0.0.1, asks for no password, and is
// named to the command in CLAVIGER_TEST_POSTGRES. It is stopped and its folder
// removed when the command ends, however it ends, and on SIGINT and SIGTERM, which
// the command is sent too. The exit code is the command's. As root, which
// PostgreSQL refuses to run as, the cluster belongs to the user postgres or nobody.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"claviger/clavigertest/postgres"
)

func main() {
	fast := flag.Bool("fast", false, "write nothing through to the disk: faster, for tests that do not pull the plug")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: postgres [-fast] -- COMMAND ARGS...")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	code, err := run(*fast, flag.Args(), signals, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "postgres:", err)
	}
	os.Exit(code)
}

// The patience with the cluster's start and end, and with a command that was told
// to end.
const (
	startDeadline = time.Minute
	stopDeadline  = 20 * time.Second
	endDeadline   = 10 * time.Second
)

// run makes the cluster, runs the command and answers its exit code; 1 and an
// error if the cluster could not be made or the command not be started.
func run(fast bool, command []string, signals <-chan os.Signal, log io.Writer) (code int, err error) {
	folder, err := os.MkdirTemp("", "claviger-postgres-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	c := &cluster{folder: folder, fast: fast, log: log}
	if err := c.create(); err != nil {
		return 1, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startDeadline)
	defer cancel()
	url, err := c.start(ctx, signals)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	return beside(command, url, signals)
}

// beside runs the command with the cluster's URL in its environment.
func beside(command []string, url string, signals <-chan os.Signal) (int, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), postgres.Variable+"="+url)
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var kill <-chan time.Time
	for {
		select {
		case s := <-signals:
			// A command that has ended meanwhile cannot be signalled.
			_ = cmd.Process.Signal(s)
			kill = time.After(endDeadline)
		case <-kill:
			_ = cmd.Process.Kill()
		case err := <-ended:
			return exitCode(cmd.ProcessState), ignoreExit(err)
		}
	}
}

// exitCode is the command's own, or 128 and the signal that ended it, as a shell
// has it.
func exitCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}

func ignoreExit(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

// cluster is a PostgreSQL data folder and the server on it.
type cluster struct {
	folder string
	fast   bool
	log    io.Writer
	as     *syscall.Credential // nil: ourselves
	server *exec.Cmd
	ended  chan error
}

func (c *cluster) data() string { return filepath.Join(c.folder, "data") }

// create makes the data folder.
func (c *cluster) create() error {
	if err := c.dropRoot(); err != nil {
		return err
	}
	args := []string{"-D", c.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"}
	if c.fast {
		args = append(args, "--no-sync")
	}
	initdb, err := c.command("initdb", args...)
	if err != nil {
		return err
	}
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

// dropRoot finds the user to run as and gives it the folder.
func (c *cluster) dropRoot() error {
	if os.Geteuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return err
		}
		c.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		return os.Chown(c.folder, int(uid), int(gid))
	}
	return errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
}

// command is one of PostgreSQL's programs under the cluster's user, in a process
// group of its own: an interrupt from the keyboard is for this program to handle.
func (c *cluster) command(name string, args ...string) (*exec.Cmd, error) {
	path, err := postgres.Binary(name)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = c.folder
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.as, Setpgid: true}
	return cmd, nil
}

// errEnded is a server that ended while its start was waited for.
var errEnded = errors.New("the server ended at once")

// start runs the server and waits until it answers. A port that was free may be taken
// by the time the server wants it: then it gets another.
func (c *cluster) start(ctx context.Context, signals <-chan os.Signal) (url string, err error) {
	for range 5 {
		if url, err = c.startOnce(ctx, signals); !errors.Is(err, errEnded) {
			break
		}
	}
	return url, err
}

func (c *cluster) startOnce(ctx context.Context, signals <-chan os.Signal) (url string, err error) {
	port, err := freePort()
	if err != nil {
		return "", err
	}
	args := []string{
		"-D", c.data(), "-h", "127.0.0.1", "-p", port, "-k", c.folder,
		"-c", "max_connections=500", "-c", "shared_buffers=64MB", "-c", "log_min_messages=fatal",
	}
	if c.fast {
		args = append(args, "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off")
	}
	if c.server, err = c.command("postgres", args...); err != nil {
		return "", err
	}
	c.server.Stderr = c.log
	if err := c.server.Start(); err != nil {
		return "", err
	}
	c.ended = make(chan error, 1)
	go func() { c.ended <- c.server.Wait() }()
	if err := c.await(ctx, port, signals); err != nil {
		return "", errors.Join(err, c.stop())
	}
	return "postgres://postgres@127.0.0.1:" + port + "/postgres?sslmode=disable", nil
}

// await asks the server until it takes connections.
func (c *cluster) await(ctx context.Context, port string, signals <-chan os.Signal) error {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		ask, err := c.command("pg_isready", "-q", "-h", "127.0.0.1", "-p", port, "-d", "postgres")
		if err != nil {
			return err
		}
		if ask.Run() == nil {
			return nil
		}
		select {
		case <-again.C:
		case s := <-signals:
			return fmt.Errorf("stopped by %v", s)
		case err := <-c.ended:
			c.ended <- err
			return errors.Join(errEnded, err)
		case <-ctx.Done():
			return fmt.Errorf("the server does not answer: %w", ctx.Err())
		}
	}
}

// stop ends the server, who disconnects everybody, and kills one that does not
// end.
func (c *cluster) stop() error {
	_ = c.server.Process.Signal(syscall.SIGINT) // PostgreSQL's fast shutdown
	select {
	case err := <-c.ended:
		return ignoreExit(err)
	case <-time.After(stopDeadline):
		_ = c.server.Process.Kill()
		return errors.Join(errors.New("the server did not stop and was killed"), ignoreExit(<-c.ended))
	}
}

// freePort answers a port that nobody listens on now.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}
