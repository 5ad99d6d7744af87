// Command reference is the least that a credential proxy of the standard library can
// be: what claviger's cost is measured against. It is httputil.ReverseProxy with a
// buffer pool; per call it checks a token by its SHA-256, looks a connection up,
// opens its AES-GCM ciphertext, puts the key on the request and queues one record,
// which a writer stores in SQLite, 1,000 at a time or every 50 ms.
//
// It has no permissions, tenants, durable start of a call, hash chain, header hygiene,
// path checks, address guard, limits or scrubbing. With -bare it only adds a static
// header: the floor under every proxy of this kind.
//
// It listens on loopback, keeps nothing that is worth anything and is no product.
package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"flag"
	"fmt"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "where to listen")
	upstream := flag.String("upstream", "", "the vendor, http://HOST:PORT")
	bare := flag.Bool("bare", false, "only add a static header")
	token := flag.String("token", "", "the one token that is let in")
	count := flag.Int("connections", 1000, "how many connections there are: c0, c1, ...")
	file := flag.String("db", "", "the SQLite file of the records")
	flag.Parse()
	target, err := url.Parse(*upstream)
	if err != nil {
		log.Fatal(err)
	}
	handler := http.Handler(bareProxy(target))
	if !*bare {
		records, err := openRecords(*file)
		if err != nil {
			log.Fatal(err)
		}
		if handler, err = newBroker(target, *token, *count, records); err != nil {
			log.Fatal(err)
		}
	}
	server := &http.Server{Addr: *addr, Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(server.ListenAndServe())
}

// transport keeps enough connections for the benchmark's load; Go's default of two
// would measure dialing.
func transport() *http.Transport {
	return &http.Transport{MaxIdleConns: 256, MaxIdleConnsPerHost: 256, DisableCompression: true, IdleConnTimeout: 90 * time.Second}
}

// buffers is the pool of httputil.ReverseProxy's copies.
type buffers struct{ pool sync.Pool }

// Get answers 32 KiB.
func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, 32<<10)
}

// Put gives them back.
func (b *buffers) Put(p []byte) { b.pool.Put(&p) }

func bareProxy(target *url.URL) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Transport: transport(), BufferPool: &buffers{},
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = target.Scheme, target.Host, target.Host
			r.Out.Header.Set("X-Api-Key", "wk_STATICSTATICSTATICSTATIC")
		},
	}
}

// broker is the reference proper.
type broker struct {
	tokens      map[[sha256.Size]byte]string
	connections map[string][]byte // nonce and ciphertext
	aead        cipher.AEAD
	records     *records
	proxy       *httputil.ReverseProxy
}

// call is what the handler found out, for Rewrite and for the record.
type call struct {
	path string
	key  string
}

type callKey struct{}

func newBroker(target *url.URL, token string, count int, r *records) (*broker, error) {
	var key [32]byte
	_, _ = rand.Read(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	b := &broker{tokens: map[[sha256.Size]byte]string{sha256.Sum256([]byte(token)): "token-1"}, connections: make(map[string][]byte, count), records: r}
	if b.aead, err = cipher.NewGCM(block); err != nil {
		return nil, err
	}
	for i := range count {
		id := fmt.Sprintf("c%d", i)
		nonce := make([]byte, 12)
		_, _ = rand.Read(nonce)
		b.connections[id] = b.aead.Seal(nonce, nonce, []byte("wk_"+rand.Text()), []byte(id))
	}
	b.proxy = &httputil.ReverseProxy{
		Transport: transport(), BufferPool: &buffers{},
		Rewrite: func(p *httputil.ProxyRequest) {
			c, _ := p.In.Context().Value(callKey{}).(call)
			p.Out.URL.Scheme, p.Out.URL.Host, p.Out.Host = target.Scheme, target.Host, target.Host
			p.Out.URL.Path, p.Out.URL.RawPath = c.path, ""
			p.Out.Header.Del("Authorization")
			p.Out.Header.Set("X-Api-Key", c.key)
		},
	}
	return b, nil
}

// statusWriter remembers the status for the record.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets ReverseProxy flush.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// ServeHTTP serves /c/{connection}/{path of the vendor}.
func (b *broker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	actor, ok := b.tokens[sha256.Sum256([]byte(token))]
	if !ok {
		http.Error(w, "no", http.StatusUnauthorized)
		return
	}
	id, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/c/"), "/")
	sealed, ok := b.connections[id]
	if !ok {
		http.NotFound(w, r)
		return
	}
	key, err := b.aead.Open(nil, sealed[:12], sealed[12:], []byte(id))
	if err != nil {
		http.Error(w, "no", http.StatusInternalServerError)
		return
	}
	sw := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	b.proxy.ServeHTTP(sw, r.WithContext(context.WithValue(r.Context(), callKey{}, call{path: "/" + path, key: string(key)})))
	b.records.queue <- record{at: began, took: time.Since(began), actor: actor, connection: id, method: r.Method, path: path, status: sw.status}
}
