// Command claviger is the credential broker in one binary: the server, and the
// command line that talks to one.
//
// The commands that talk to a server are thin: each reads its input, makes one or
// two calls of package client and prints the answer. Secrets come from standard
// input or a prompt without echo, never from an argument, where the process list
// and the shell's history would show them. What a server sends is printed with its
// control characters escaped, because it holds text that vendors and other people
// chose. Exit codes are in docs/cli.md.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole program but for its process: it answers the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &program{
		stdin: stdin, stdout: stdout, stderr: stderr, getenv: os.Getenv, configDir: os.UserConfigDir, browse: openBrowser, pause: pause,
		keychain: findKeychain(os.Getenv), patience: keychainWait,
	}
	return p.execute(ctx, args)
}
