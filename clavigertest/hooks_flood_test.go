package clavigertest_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger/clavigertest"
	"claviger/clavigertest/signers"
	"claviger/client"
)

func TestAbuse_159_ABodyIsCappedWhileItArrives(t *testing.T) {
	h := startHooked(t, clavigertest.Options{})
	raw := func(head string, body io.Reader) string {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", h.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if err := conn.SetDeadline(time.Now().Add(longest)); err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", h.path, head)
			if body != nil {
				_, _ = io.Copy(conn, body)
			}
		}()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return err.Error()
		}
		_ = resp.Body.Close()
		return fmt.Sprint(resp.StatusCode)
	}
	if got := raw("Content-Length: 10737418240", nil); got != "413" {
		t.Errorf("10 GiB announced: %s", got)
	}
	if got := raw("Transfer-Encoding: chunked", chunks(3<<20)); got != "413" {
		t.Errorf("3 MiB in chunks: %s", got)
	}
	if got := raw("X-Long: "+strings.Repeat("x", 1<<20)+"\r\nContent-Length: 0", nil); got != "431" {
		t.Errorf("1 MiB of headers: %s", got)
	}
	bomb := strings.Repeat("\x1f\x8b", 100)
	if a := h.Do(clavigertest.Call{Method: http.MethodPost, Path: h.path, Body: bomb, Header: http.Header{
		"Content-Encoding": {"gzip"}, "X-Hub-Signature-256": {"sha256=" + hexMAC(hookSecret, bomb)},
	}}); a.Status != http.StatusAccepted {
		t.Errorf("what says that it is compressed, and is signed as it is: %d %s", a.Status, a.Body)
	}
	if a := h.deliver(h.path, hookSecret, strings.Repeat("x", 1<<20), "d"); a.Status != http.StatusAccepted {
		t.Errorf("exactly the cap: %d %s", a.Status, a.Body)
	}
	if a := h.deliver(h.path, hookSecret, strings.Repeat("x", 1<<20+1), "d"); a.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("one byte more: %d", a.Status)
	}
}

// chunks is so many bytes of a chunked body.
func chunks(n int) io.Reader {
	piece := "10000\r\n" + strings.Repeat("x", 1<<16) + "\r\n"
	return strings.NewReader(strings.Repeat(piece, n>>16) + "0\r\n\r\n")
}

func TestAFloodOfForgeriesIsBounded(t *testing.T) {
	c := &clock{at: time.Now()} // stands still: each second that passes allows for more
	h := startHooked(t, clavigertest.Options{Now: c.now})
	h.accept(`{"n":1}`, "d-1") // the address is now known to be the vendor's
	trusted := 0
	for range 700 {
		if a := h.deliver(h.path, "secret_of_a_stranger_1", `{}`, "d"); a.Status == http.StatusUnauthorized {
			trusted++
		}
	}
	if trusted != 700 {
		t.Errorf("the vendor's own address had %d of 700 refused with 401", trusted)
	}
	h.upload("quiet", githubSlot("quiet"))
	setSecrets(t, h.Client, "quiet/hook", hookSecret)
	path, limited := h.address("quiet"), 0
	for range 700 {
		if a := h.deliver(path, "secret_of_a_stranger_1", `{}`, "d"); a.Status == http.StatusTooManyRequests && a.Header.Get("Retry-After") != "" {
			limited++
		}
	}
	if limited == 0 || limited > 150 {
		t.Errorf("a stranger had %d of 700 answered with 429", limited)
	}
}

func TestAbuse_162_ABurstIsStoredOrRefused(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		h := startHooked(t, clavigertest.Options{Engine: engine})
		var mu sync.Mutex
		accepted, other := map[string]bool{}, map[int]int{}
		var wg sync.WaitGroup
		for w := range 32 {
			wg.Go(func() {
				for i := range 60 {
					body := fmt.Sprintf(`{"w":%d,"i":%d}`, w, i)
					a, err := h.Send(clavigertest.Call{Method: http.MethodPost, Path: h.path, Body: body, Header: signedHeader(hookSecret, body, fmt.Sprint(w, ".", i))})
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					if a.Status == http.StatusAccepted {
						accepted[a.Field("id")] = true
					} else {
						other[a.Status]++
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		for status := range other {
			if status != http.StatusTooManyRequests {
				t.Errorf("statuses %v", other)
			}
		}
		stored := map[string]bool{}
		for _, e := range h.events(client.InboundQuery{SystemKey: "forge"}) {
			stored[e.ID] = true
		}
		for id := range accepted {
			if !stored[id] {
				t.Errorf("%s was answered 202 and is not stored", id)
			}
		}
		if len(stored) != len(accepted) || len(accepted) == 0 {
			t.Errorf("%d were answered 202, %d are stored", len(accepted), len(stored))
		}
	})
}

func TestAbuse_167_169_StormsLeaveNoTraceInTheLogs(t *testing.T) {
	h := startHooked(t, clavigertest.Options{})
	var canaries clavigertest.Canaries
	canaries.Add("secret", hookSecret)
	canaries.Add("body", "body_canary_of_the_storm")
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 25 {
				body := fmt.Sprintf(`{"text":"body_canary_of_the_storm","n":"%d.%d"}`, w, i)
				secret := hookSecret
				if i%3 == 0 {
					secret = "secret_of_a_stranger_1"
				}
				header := signedHeader(secret, body, fmt.Sprint(w, i))
				canary := header.Get("X-Hub-Signature-256")
				if a, err := h.Send(clavigertest.Call{Method: http.MethodPost, Path: h.path, Body: body, Header: header}); err != nil || strings.Contains(h.Logs.String(), canary) {
					t.Errorf("%v %v: the log has the signature", a, err)
				}
			}
		})
	}
	wg.Wait()
	for _, e := range h.events(client.InboundQuery{}) {
		shown := h.settled(e.ID)
		if shown.Body == nil || !strings.Contains(*shown.Body, "body_canary_of_the_storm") || strings.Count(*shown.Body, "{") != 1 {
			t.Errorf("a body is not as it came: %+v", shown)
		}
	}
	h.Stop()
	for _, hit := range canaries.Scan("log", []byte(h.Logs.String())) {
		t.Errorf("the log holds the %s as %s: %s", hit.Secret, hit.Encoding, hit.Around)
	}
	for path, content := range h.Files() {
		for _, hit := range canaries.Scan(path, content) {
			t.Errorf("%s holds the %s as %s", hit.Sink, hit.Secret, hit.Encoding)
		}
	}
}

// What vendors' own libraries sign is taken, and nothing that differs from it.
func TestAbuse_155_VendorsLibrariesSign(t *testing.T) {
	p := signers.Start(t)
	s := clavigertest.Start(t, clavigertest.Options{})
	h := &hooked{Server: s, Client: s.Client(s.Key), t: t}
	const whsec = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	for _, c := range []struct{ library, scheme, secret, late string }{
		{signers.StandardWebhooks, "standard-webhooks", whsec, "webhook-timestamp"},
		{signers.Svix, "svix", whsec, "svix-timestamp"},
		{signers.Stripe, "stripe", "whsec_stripe_test_secret_1", "stripe"},
		{signers.Octokit, "github", hookSecret, ""},
		{signers.Slack, "slack", hookSecret, "x-slack-request-timestamp"},
		{signers.Shopify, "shopify", hookSecret, ""},
	} {
		t.Run(c.library, func(t *testing.T) {
			key := "by-" + c.library
			h.upload(key, hookSlot(key, "webhook", "hmac", fmt.Sprintf(`{"scheme":%q}`, c.scheme), "signingSecret", "hook"))
			setSecrets(t, h.Client, key+"/hook", c.secret)
			path := h.address(key)
			signed := func(at time.Time, n int) (http.Header, string) {
				headers, body := p.Sign(t, c.library, map[string]any{"secret": c.secret, "id": fmt.Sprint("msg_", n), "timestamp": at.Unix(), "body": fmt.Sprintf(`{"type":"x","n":%d}`, n)})
				out := http.Header{"Content-Type": {"application/json"}}
				for name, value := range headers {
					out.Set(name, value)
				}
				return out, string(body)
			}
			send := func(header http.Header, body string) int {
				return h.Do(clavigertest.Call{Method: http.MethodPost, Path: path, Body: body, Header: header}).Status
			}
			header, body := signed(time.Now(), 1)
			if got := send(header, body); got != http.StatusAccepted {
				t.Fatalf("what the library signs: %d", got)
			}
			if got := send(header, body); got != http.StatusOK {
				t.Errorf("a copy: %d", got)
			}
			if got := send(header, strings.Replace(body, `"x"`, `"y"`, 1)); got != http.StatusUnauthorized {
				t.Errorf("one bit changed: %d", got)
			}
			for name := range header {
				without := header.Clone()
				without.Del(name)
				lower := strings.ToLower(name)
				if !strings.Contains(lower, "signature") && !strings.Contains(lower, "hmac") {
					continue
				}
				if got := send(without, body); got != http.StatusUnauthorized {
					t.Errorf("without %s: %d", name, got)
				}
			}
			if c.late == "" {
				return
			}
			for _, off := range []time.Duration{-5*time.Minute - 2*time.Second, 6 * time.Minute} {
				header, body := signed(time.Now().Add(off), 2)
				if got := send(header, body); got != http.StatusUnauthorized {
					t.Errorf("signed %v from now: %d", off, got)
				}
			}
			header, body = signed(time.Now(), 3)
			for _, stamp := range []string{"", "-1", "1000000000000000000", "soon", "1763800000000"} {
				changed := header.Clone()
				if c.late == "stripe" {
					_, rest, _ := strings.Cut(header.Get("Stripe-Signature"), ",")
					changed.Set("Stripe-Signature", "t="+stamp+","+rest)
				} else {
					changed.Set(c.late, stamp)
				}
				if got := send(changed, body); got != http.StatusUnauthorized {
					t.Errorf("with the timestamp %q: %d", stamp, got)
				}
			}
		})
	}
}
