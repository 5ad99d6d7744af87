package broker

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"claviger"
	"claviger/internal/egress"
	"claviger/internal/hookverify"
)

const (
	// maxKeyDocument bounds a document of published keys, maxKeyDocuments those in memory.
	maxKeyDocument, maxKeyDocuments = 256 << 10, 1024
	// Published keys are kept as long as the vendor says, within these bounds.
	shortestKeys, longestKeys = 5 * time.Minute, 24 * time.Hour
	// keysAgain is how soon a document is fetched again for a key that it does not have:
	// the vendor may have just published it.
	keysAgain = time.Minute
	// keyTimeout bounds one fetch; keyRate and keyBurst are how many there are, per second.
	keyTimeout        = 10 * time.Second
	keyRate, keyBurst = 10, 50
)

// published keeps the keys that vendors publish. What it fetches has been held against
// the hosts of the scheme by hookverify, and passes the egress guard like everything else.
type published struct {
	egress    *egress.Client
	now       func() time.Time
	documents *cache[string, keyDocument]
	flights   *singleflight.Group
	pace      *rate.Limiter
	accounts  *cache[claviger.ConnectionID, *rate.Limiter] // of slots that ask with a credential
}

type keyDocument struct {
	text           []byte
	fetched, until time.Time
}

func newPublished(e *egress.Client, now func() time.Time) *published {
	return &published{
		egress: e, now: now, documents: newCache[string, keyDocument](maxKeyDocuments), flights: &singleflight.Group{}, pace: rate.NewLimiter(keyRate, keyBurst),
		accounts: newCache[claviger.ConnectionID, *rate.Limiter](maxKeyDocuments),
	}
}

// publishedKeys answers the vendor's keys that a delivery may be verified with.
func (b *Broker) publishedKeys(ctx context.Context, d *delivery) ([]hookverify.Key, error) {
	p := b.published
	ref, err := d.slot.scheme.KeyRef(&d.request)
	if err != nil {
		return nil, err
	}
	name, fetch := ref.URL, func(ctx context.Context) (keyDocument, error) { return p.fetch(ctx, ref.URL) }
	if ref.Account != nil {
		ask := account{Broker: b, d: d, ref: ref}
		name, fetch = ask.key(), ask.fetch
	}
	if ref.Form == hookverify.FormDiscovery {
		text, _, err := p.document(ctx, name, longestKeys, fetch)
		if err != nil {
			return nil, err
		}
		if ref, err = d.slot.scheme.Discovered(ref, text); err != nil {
			return nil, err
		}
		name = ref.URL
	}
	text, age, err := p.document(ctx, name, longestKeys, fetch)
	if err != nil {
		return nil, err
	}
	keys, err := d.slot.scheme.FetchedKeys(ref, text, d.now)
	if err == nil || age < keysAgain {
		return keys, err
	}
	if text, _, err = p.document(ctx, name, keysAgain, fetch); err != nil {
		return nil, err
	}
	return d.slot.scheme.FetchedKeys(ref, text, d.now)
}

// document answers what is published under a name, not older than a span.
func (p *published) document(ctx context.Context, name string, oldest time.Duration, fetch func(context.Context) (keyDocument, error)) ([]byte, time.Duration, error) {
	now := p.now()
	kept, generation, ok := p.documents.get(name)
	if age := now.Sub(kept.fetched); ok && now.Before(kept.until) && age < oldest {
		return kept.text, age, nil
	}
	fetched, err, _ := p.flights.Do(name, func() (any, error) { return fetch(ctx) })
	if err != nil {
		return nil, 0, err
	}
	doc := fetched.(keyDocument) //nolint:errcheck // it is what the function answers
	p.documents.put(name, doc, generation)
	return doc.text, 0, nil
}

func (p *published) fetch(ctx context.Context, address string) (keyDocument, error) {
	if !p.pace.AllowN(p.now(), 1) {
		return keyDocument{}, claviger.Errorf(claviger.KindRateLimited, "rate_limited", "Too many keys are fetched. Try again later.")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keyTimeout) // others wait for the same
	defer cancel()
	text, header, err := fetchPublic(ctx, p.egress, address)
	if err != nil {
		return keyDocument{}, err
	}
	now := p.now()
	return keyDocument{text: text, fetched: now, until: now.Add(freshFor(header))}, nil
}

// fetchPublic gets a document that needs no credential.
func fetchPublic(ctx context.Context, client *egress.Client, address string) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, keysUnreachable().With(err)
	}
	req.Header.Set("User-Agent", "claviger")
	text, header, _, err := getDocument(ctx, client, "published", req)
	return text, header, err
}

func keysUnreachable() *claviger.Error {
	return claviger.Errorf(claviger.KindUpstream, "keys_unreachable", "What the vendor publishes cannot be fetched. Try again later.")
}

// getDocument answers what a request is answered with 200, and the status. Redirects are
// not followed.
func getDocument(ctx context.Context, client *egress.Client, partition string, req *http.Request) ([]byte, http.Header, int, error) {
	origin, ok := egress.CanonicalOrigin(req.URL)
	if !ok || req.URL.Scheme != "https" {
		return nil, nil, 0, keysUnreachable()
	}
	resp, err := client.Do(ctx, egress.Destination{Key: partition, Origin: origin}, req)
	if err != nil {
		return nil, nil, 0, keysUnreachable().With(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	text, err := egress.ReadAll(resp.Body, maxKeyDocument)
	if err != nil {
		return nil, nil, resp.StatusCode, keysUnreachable().With(err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, nil, resp.StatusCode, keysUnreachable()
	}
	return text, resp.Header, resp.StatusCode, nil
}

// freshFor answers how long an answer may be used again (RFC 9111, section 5.2.2), within
// our bounds.
func freshFor(h http.Header) time.Duration {
	life := shortestKeys
	for _, part := range strings.Split(strings.ToLower(h.Get("Cache-Control")), ",") {
		if seconds, ok := strings.CutPrefix(strings.TrimSpace(part), "max-age="); ok {
			if n, err := strconv.Atoi(seconds); err == nil && n > 0 {
				life = time.Duration(min(n, int(longestKeys/time.Second))) * time.Second
			}
		}
	}
	return max(life, shortestKeys)
}
