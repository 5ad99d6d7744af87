package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // counts what PostgreSQL holds
	_ "modernc.org/sqlite"             // and SQLite

	"claviger/api"
	"claviger/client"
)

// server is the program under load.
type server struct {
	cmd    *exec.Cmd
	out    *output
	url    string
	client *client.Client
}

// output gathers what a process prints.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// String answers what was written so far.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// startDeadline bounds the patience with a process.
const startDeadline = 60 * time.Second

func startServer(ctx context.Context, folder, database string) (*server, error) {
	program := filepath.Join(folder, "claviger")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "claviger/cmd/claviger")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building: %w\n%s", err, out)
	}
	s := &server{cmd: exec.Command(program, "serve"), out: &output{}}
	s.cmd.Env = []string{"CLAVIGER_ADDR=127.0.0.1:0", "CLAVIGER_ADMIN_ADDR=127.0.0.1:0", "CLAVIGER_DATA=" + filepath.Join(folder, "data")}
	if database != "" {
		s.cmd.Env = append(s.cmd.Env, "CLAVIGER_DATABASE_URL="+database)
	}
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.out
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	key := regexp.MustCompile(`clv_key_\w{49}`)
	address := regexp.MustCompile(`"msg":"listening".*"address":"([^"]+)"`)
	err := until(ctx, startDeadline, func() (bool, error) {
		text := s.out.String()
		return key.MatchString(text) && address.MatchString(text), nil
	})
	if err != nil {
		s.kill()
		return nil, fmt.Errorf("the server did not start: %w\n%s", err, s.out)
	}
	s.url = "http://" + address.FindStringSubmatch(s.out.String())[1]
	s.client, err = client.New(s.url, key.FindString(s.out.String()))
	return s, err
}

// until asks again and again.
func until(ctx context.Context, patience time.Duration, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

const system = `{"key":"forge","displayName":"Forge","description":"Receives.","type":"custom","authentications":[
	{"key":"webhook","usage":"webhookInbound","authType":"credential","credential":{"method":"apikey","variables":{"headerName":"X-Hub-Signature-256","scheme":"github"},"security":{"apiKey":"kv://forge/hook"}}}]}`

// prepare uploads a system and answers where its vendor delivers.
func (s *server) prepare(ctx context.Context) (string, error) {
	if _, err := s.client.PutSystem(ctx, "forge", api.SystemUpload{System: json.RawMessage(system)}); err != nil {
		return "", err
	}
	if _, err := s.client.PutSecret(ctx, "forge/hook", secret); err != nil {
		return "", err
	}
	slots, err := s.client.Slots(ctx, "forge")
	if err != nil || len(slots) != 1 {
		return "", fmt.Errorf("%d slots: %w", len(slots), err)
	}
	_, path, _ := strings.Cut(slots[0].WebhookURL, "/webhooks/")
	return s.url + "/webhooks/" + path, nil
}

// watch samples the server's memory every second until the answered function is called,
// which answers the samples and the CPU time since.
func (s *server) watch(ctx context.Context) func() ([]int64, time.Duration) {
	ctx, cancel := context.WithCancel(ctx)
	var samples []int64
	done := make(chan struct{})
	before := cpu(s.cmd.Process.Pid)
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				samples = append(samples, memory(s.cmd.Process.Pid))
			}
		}
	}()
	return func() ([]int64, time.Duration) {
		cancel()
		<-done
		return samples, cpu(s.cmd.Process.Pid) - before
	}
}

// memory answers a process's resident memory, from /proc.
func memory(pid int) int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// cpu answers a process's time on the processors, from /proc, where a tick is 10 ms.
func cpu(pid int) time.Duration {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	kernel, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+kernel) * 10 * time.Millisecond
}

// drained waits until everything was acted upon, and answers how long that took.
func (s *server) drained(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	err := until(ctx, 5*time.Minute, func() (bool, error) {
		for _, err := range s.client.InboundEvents(ctx, client.InboundQuery{Status: "received"}) {
			return false, err
		}
		return true, nil
	})
	return time.Since(began), err
}

func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return s.cmd.Wait()
}

func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// count answers how many deliveries the database holds, and how many were acted upon.
func count(ctx context.Context, file, database string) (stored, processed int, err error) {
	driver, source := "sqlite", "file:"+file+"?mode=ro"
	if database != "" {
		driver, source = "pgx", database
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		return 0, 0, err
	}
	err = db.QueryRowContext(ctx, "SELECT COUNT(*), COALESCE(SUM(CASE WHEN status = 'processed' THEN 1 ELSE 0 END), 0) FROM inbound_events").Scan(&stored, &processed)
	return stored, processed, errors.Join(err, db.Close())
}
