package broker

import (
	"context"
	"net/http"
	"net/url"
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
}

type keyDocument struct {
	text           []byte
	fetched, until time.Time
}

func newPublished(e *egress.Client, now func() time.Time) *published {
	return &published{
		egress: e, now: now, documents: newCache[string, keyDocument](maxKeyDocuments), flights: &singleflight.Group{}, pace: rate.NewLimiter(keyRate, keyBurst),
	}
}

// keys answers the published keys that a delivery may be verified with.
func (p *published) keys(ctx context.Context, d *delivery) ([]hookverify.Key, error) {
	ref, err := d.slot.scheme.KeyRef(&d.request)
	if err != nil {
		return nil, err
	}
	if ref.Credential {
		return nil, claviger.Errorf(claviger.KindUnauthenticated, hookverify.CodeNotVerifiable, "The vendor tells its keys only to calls with the account's credential, which is not supported.")
	}
	if ref.Form == hookverify.FormDiscovery {
		text, _, err := p.document(ctx, ref.URL, longestKeys)
		if err != nil {
			return nil, err
		}
		if ref, err = d.slot.scheme.Discovered(ref, text); err != nil {
			return nil, err
		}
	}
	text, age, err := p.document(ctx, ref.URL, longestKeys)
	if err != nil {
		return nil, err
	}
	keys, err := d.slot.scheme.FetchedKeys(ref, text, d.now)
	if err == nil || age < keysAgain {
		return keys, err
	}
	if text, _, err = p.document(ctx, ref.URL, keysAgain); err != nil {
		return nil, err
	}
	return d.slot.scheme.FetchedKeys(ref, text, d.now)
}

// document answers what is published at an address, not older than a span.
func (p *published) document(ctx context.Context, address string, oldest time.Duration) ([]byte, time.Duration, error) {
	now := p.now()
	kept, generation, ok := p.documents.get(address)
	if age := now.Sub(kept.fetched); ok && now.Before(kept.until) && age < oldest {
		return kept.text, age, nil
	}
	fetched, err, _ := p.flights.Do(address, func() (any, error) { return p.fetch(ctx, address) })
	if err != nil {
		return nil, 0, err
	}
	doc := fetched.(keyDocument) //nolint:errcheck // it is what the function answers
	p.documents.put(address, doc, generation)
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

// fetchPublic gets a document that needs no credential. Redirects are not followed.
func fetchPublic(ctx context.Context, client *egress.Client, address string) ([]byte, http.Header, error) {
	unreachable := claviger.Errorf(claviger.KindUpstream, "keys_unreachable", "What the vendor publishes cannot be fetched. Try again later.")
	u, err := url.Parse(address)
	if err != nil {
		return nil, nil, unreachable.With(err)
	}
	origin, ok := egress.CanonicalOrigin(u)
	if !ok || u.Scheme != "https" {
		return nil, nil, unreachable
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, unreachable.With(err)
	}
	req.Header.Set("User-Agent", "claviger")
	resp, err := client.Do(ctx, egress.Destination{Key: "published", Origin: origin}, req)
	if err != nil {
		return nil, nil, unreachable.With(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	text, err := egress.ReadAll(resp.Body, maxKeyDocument)
	if err != nil {
		return nil, nil, unreachable.With(err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, nil, unreachable
	}
	return text, resp.Header, nil
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
