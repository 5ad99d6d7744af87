package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"claviger/clavigertest/resolver"
	"claviger/internal/app"
)

// crm is the vendor at https://api.example.com: companies, and who asked for what.
type crm struct {
	mu      sync.Mutex
	seen    []string
	records map[string]map[string]any
	next    int
}

// crmHost is the host of the documentation's example, which is uploaded as it stands.
const crmHost = "api.example.com"

// Keys of the vendor, by what they are for.
var crmKeys = map[string]string{"ak_for_callers_0001": "callers", "ak_for_workers_0001": "workers"}

// serveCRM starts the vendor on port 443 of a loopback address that no other test has,
// and points the program at it. Without the right to use that port the condition "crm" is
// false.
func serveCRM(e *testscript.Env, c *app.Config) error {
	t := e.T().(testing.TB)
	var b [2]byte
	if _, err := rand.Read(b[:]); err != nil {
		return err
	}
	addr := netip.AddrFrom4([4]byte{127, 43, b[0], b[1]})
	l, err := net.Listen("tcp", netip.AddrPortFrom(addr, 443).String())
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	v := &crm{records: map[string]map[string]any{}}
	s := httptest.NewUnstartedServer(v)
	_ = s.Listener.Close()
	s.Listener = l
	s.StartTLS()
	e.Defer(s.Close)
	e.Values[crmHost] = v
	c.RootCAs = s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs // its certificate is for *.example.com
	c.Resolver = resolver.Of(t, map[string][]string{crmHost: {addr.String()}})
	c.EgressAllow += "," + crmHost
	return nil
}

// hasCRM reports whether [serveCRM] can serve.
func hasCRM() bool {
	l, err := net.Listen("tcp", "127.43.0.1:443")
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}

// seen writes what reached the vendor since it was last asked to a file: a line for each
// request, with who its key is for.
func seen(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: seen file")
	}
	v := ts.Value(crmHost).(*crm)
	v.mu.Lock()
	defer v.mu.Unlock()
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Join(v.seen, "\n")+"\n"), 0o600))
	v.seen = nil
}

func (v *crm) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	who, ok := crmKeys[r.Header.Get("X-API-Key")]
	if !ok {
		who = "a stranger"
	}
	v.seen = append(v.seen, fmt.Sprintf("%s %s by %s", r.Method, r.URL.Path, who))
	if !ok {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	id, one := strings.CutPrefix(r.URL.Path, "/companies/")
	switch {
	case r.URL.Path == "/health":
		_, _ = io.WriteString(w, `{"status":"ok"}`)
	case r.URL.Path == "/companies" && r.Method == http.MethodGet:
		v.list(w)
	case r.URL.Path == "/companies" && r.Method == http.MethodPost:
		v.next++
		id := fmt.Sprintf("co_%d", v.next)
		v.records[id] = map[string]any{"id": id}
		v.merge(w, r, id, http.StatusCreated)
	case !one || v.records[id] == nil:
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodPatch:
		v.merge(w, r, id, http.StatusOK)
	case r.Method == http.MethodDelete:
		delete(v.records, id)
		w.WriteHeader(http.StatusNoContent)
	default:
		_ = json.NewEncoder(w).Encode(v.records[id])
	}
}

func (v *crm) list(w io.Writer) {
	results := []map[string]any{}
	for _, record := range v.records {
		results = append(results, record)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"results": results})
}

func (v *crm) merge(w http.ResponseWriter, r *http.Request, id string, status int) {
	var in map[string]any
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	for k, x := range in {
		v.records[id][k] = x
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v.records[id])
}
