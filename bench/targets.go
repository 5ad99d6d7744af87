package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
)

// The proxies, as tables name them.
const (
	direct          = "direct"
	nginx           = "nginx, static header"
	bareProxy       = "ReverseProxy, static header"
	reference       = "reference"
	relaxed         = "claviger relaxed, SQLite"
	strict          = "claviger strict, SQLite"
	relaxedPostgres = "claviger relaxed, PostgreSQL"
	strictPostgres  = "claviger strict, PostgreSQL"
	relaxedMany     = "claviger relaxed, SQLite, many"
)

func names() []string {
	return []string{direct, nginx, bareProxy, reference, relaxed, strict, relaxedPostgres, strictPostgres, relaxedMany}
}

// target is a proxy that runs.
type target struct {
	name   string
	base   string // http://HOST:PORT
	header string // of a request: the caller's token
	paths  []string
	pid    int // 0: nothing to account for
	admin  string
	extra  int // a process tree that works for it: PostgreSQL's
}

// bench holds what a run starts.
type bench struct {
	options
	folder   string
	upstream string // HOST:PORT
	running  []*process
	targets  []*target
	pattern  *regexp.Regexp // of -only
}

func (b *bench) wants(name string) bool {
	if name == relaxedMany && b.many == 0 {
		return false
	}
	return b.pattern.MatchString(name)
}

// build makes all programs as releases are made: stripped.
func (b *bench) build(ctx context.Context) error {
	for _, p := range []string{"cmd/claviger", "bench/upstream", "bench/reference"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", b.program(filepath.Base(p)), "./"+p)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", p, err, out)
		}
	}
	return nil
}

func (b *bench) program(name string) string { return filepath.Join(b.folder, name) }

// freeAddr answers an address that nobody listens on.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close() //nolint:errcheck // it has served its purpose
	return l.Addr().String(), nil
}

// startAll starts the vendor and every proxy.
func (b *bench) startAll(ctx context.Context) error {
	var err error
	if b.upstream, err = freeAddr(); err != nil {
		return err
	}
	if _, err := b.start(ctx, b.upstream, nil, b.program("upstream"), "-addr", b.upstream); err != nil {
		return err
	}
	b.targets = append(b.targets, &target{name: direct, base: "http://" + b.upstream, paths: []string{""}})
	steps := []struct {
		name  string
		start func(context.Context, string) error
	}{
		{nginx, b.startNginx},
		{bareProxy, b.startBare},
		{reference, b.startReference},
		{relaxed, func(ctx context.Context, name string) error { return b.startClaviger(ctx, name, "relaxed", "", 1000) }},
		{strict, func(ctx context.Context, name string) error { return b.startClaviger(ctx, name, "strict", "", 1000) }},
		{relaxedPostgres, func(ctx context.Context, name string) error { return b.startOnPostgres(ctx, name, "relaxed") }},
		{strictPostgres, func(ctx context.Context, name string) error { return b.startOnPostgres(ctx, name, "strict") }},
		{relaxedMany, func(ctx context.Context, name string) error { return b.startClaviger(ctx, name, "relaxed", "", b.many) }},
	}
	for _, s := range steps {
		if !b.wants(s.name) {
			continue
		}
		if err := s.start(ctx, s.name); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

const nginxConfig = `daemon off; worker_processes auto; pid %[1]s/nginx.pid; error_log %[1]s/nginx.log;
events { worker_connections 4096; }
http {
  access_log off; server_tokens off;
  client_body_temp_path %[1]s/nginx-body; proxy_temp_path %[1]s/nginx-proxy; fastcgi_temp_path %[1]s/nginx-f; uwsgi_temp_path %[1]s/nginx-u; scgi_temp_path %[1]s/nginx-s;
  upstream vendor { server %[2]s; keepalive 256; keepalive_requests 100000000; }
  server {
    listen %[3]s; keepalive_requests 100000000;
    location / {
      proxy_pass http://vendor; proxy_http_version 1.1; proxy_max_temp_file_size 0;
      proxy_set_header Connection ""; proxy_set_header X-Api-Key wk_STATICSTATICSTATICSTATIC;
    }
  }
}
`

func (b *bench) startNginx(ctx context.Context, name string) error {
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	file := filepath.Join(b.folder, "nginx.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, nginxConfig, b.folder, b.upstream, addr), 0o600); err != nil {
		return err
	}
	p, err := b.start(ctx, addr, nil, "nginx", "-c", file, "-e", filepath.Join(b.folder, "nginx.log"))
	if err != nil {
		return err
	}
	b.targets = append(b.targets, &target{name: name, base: "http://" + addr, paths: []string{""}, pid: p.pid()})
	return nil
}

func (b *bench) startBare(ctx context.Context, name string) error {
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	p, err := b.start(ctx, addr, nil, b.program("reference"), "-bare", "-addr", addr, "-upstream", "http://"+b.upstream)
	if err != nil {
		return err
	}
	b.targets = append(b.targets, &target{name: name, base: "http://" + addr, paths: []string{""}, pid: p.pid()})
	return nil
}

func (b *bench) startReference(ctx context.Context, name string) error {
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	token := rand.Text()
	p, err := b.start(ctx, addr, nil, b.program("reference"), "-addr", addr, "-upstream", "http://"+b.upstream,
		"-token", token, "-connections", "1000", "-db", filepath.Join(b.folder, "reference.db"))
	if err != nil {
		return err
	}
	t := &target{name: name, base: "http://" + addr, header: "Bearer " + token, pid: p.pid()}
	for i := range 1000 {
		t.paths = append(t.paths, fmt.Sprintf("/c/c%d", i))
	}
	b.targets = append(b.targets, t)
	return nil
}

// find answers the running target of a name, or nil.
func (b *bench) find(name string) *target {
	for _, t := range b.targets {
		if t.name == name {
			return t
		}
	}
	return nil
}

// stop ends what was started, the last first.
func (b *bench) stop() error {
	var all []error
	for _, p := range slices.Backward(b.running) {
		all = append(all, p.end())
	}
	b.running = nil
	return errors.Join(all...)
}
