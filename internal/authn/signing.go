package authn

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"claviger/internal/store"
)

const (
	// ringFact holds all signing keys, sealed as one, so that they change together.
	ringFact = "token-keys"
	// publishFirst is how long a new key stands in the key set before it signs: longer
	// than nodes (reloadAfter) and clients (jwksMaxAge) hold an older set.
	publishFirst = time.Minute
	reloadAfter  = 15 * time.Second
	jwksMaxAge   = 30 * time.Second
)

// signingKey is one Ed25519 key and the time it is of use.
type signingKey struct {
	ID      string    `json:"kid"`
	Seed    []byte    `json:"seed"`
	SignsAt time.Time `json:"signsAt"`        // from when on it signs
	Until   time.Time `json:"until,omitzero"` // until when what it signed can still be valid; zero: no end yet
	private ed25519.PrivateKey
}

func (k *signingKey) public() ed25519.PublicKey { return k.private.Public().(ed25519.PublicKey) }

func (k *signingKey) verifies(now time.Time) bool { return k.Until.IsZero() || now.Before(k.Until) }

// keySet is an unchanging list of keys, oldest first.
type keySet []*signingKey

// find answers the key of the id, if it may still verify. The id is compared with
// those in memory; it never becomes part of a query or a path.
func (s keySet) find(id string, now time.Time) *signingKey {
	for _, k := range s {
		if k.ID == id && k.verifies(now) {
			return k
		}
	}
	return nil
}

// signer answers the newest key whose time to sign has come.
func (s keySet) signer(now time.Time) *signingKey {
	for i := len(s) - 1; i >= 0; i-- {
		if !now.Before(s[i].SignsAt) && s[i].verifies(now) {
			return s[i]
		}
	}
	return nil
}

// ring keeps the signing keys of the instance, which live sealed in the database and
// are read again every 15 seconds.
type ring struct {
	db     *store.DB
	sealer Sealer
	now    func() time.Time
	random io.Reader

	mu     sync.Mutex
	set    keySet
	loaded time.Time
}

// open reads the keys, making the first one where there is none. Of several nodes
// that start at once one makes it and the others read it.
func (r *ring) open(ctx context.Context) error {
	if _, err := r.keys(ctx); err == nil || !errors.Is(err, store.ErrNotFound) {
		return err
	}
	first, err := r.newKey(r.now())
	if err != nil {
		return err
	}
	if err := r.write(ctx, keySet{first}, true); err != nil && !errors.Is(err, store.ErrConflict) {
		return err
	}
	r.expire()
	_, err = r.keys(ctx)
	return err
}

// keys answers the current set. When the database does not answer, the last set
// serves on: its keys are no less valid for it.
func (r *ring) keys(ctx context.Context) (keySet, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.set != nil && r.now().Sub(r.loaded) < reloadAfter {
		return r.set, nil
	}
	set, err := r.read(ctx)
	if err != nil {
		if r.set != nil && !errors.Is(err, store.ErrNotFound) {
			r.loaded = r.now()
			return r.set, nil
		}
		return nil, err
	}
	r.set, r.loaded = set, r.now()
	return set, nil
}

func (r *ring) expire() {
	r.mu.Lock()
	r.loaded = time.Time{}
	r.mu.Unlock()
}

func (r *ring) read(ctx context.Context) (keySet, error) {
	sealed, err := r.db.Fact(ctx, ringFact)
	if err != nil {
		return nil, err
	}
	plain, err := r.sealer.OpenInstance(ringFact, sealed)
	if err != nil {
		return nil, fmt.Errorf("authn: the token signing keys do not open: %w", err)
	}
	var set keySet
	if err := json.Unmarshal(plain, &set); err != nil {
		return nil, errors.New("authn: the token signing keys cannot be read")
	}
	for _, k := range set {
		if len(k.Seed) != ed25519.SeedSize {
			return nil, errors.New("authn: a token signing key has the wrong size")
		}
		k.private = ed25519.NewKeyFromSeed(k.Seed)
	}
	return set, nil
}

func (r *ring) write(ctx context.Context, set keySet, mustBeNew bool) error {
	plain, err := json.Marshal(set)
	if err != nil {
		return err
	}
	sealed, err := r.sealer.SealInstance(ringFact, plain)
	if err != nil {
		return err
	}
	return r.db.InTx(ctx, "", func(tx *store.Tx) error {
		if err := tx.PutFact(ctx, ringFact, sealed, mustBeNew); err != nil {
			return err
		}
		return tx.AddChange(ctx, "keyset", ringFact)
	})
}

func (r *ring) newKey(signsAt time.Time) (*signingKey, error) {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(r.random, seed); err != nil {
		return nil, err
	}
	private := ed25519.NewKeyFromSeed(seed)
	jwk := jose.JSONWebKey{Key: private.Public()}
	thumb, err := jwk.Thumbprint(crypto.SHA256) // RFC 7638
	if err != nil {
		return nil, err
	}
	return &signingKey{ID: base64.RawURLEncoding.EncodeToString(thumb), Seed: seed, SignsAt: signsAt, private: private}, nil
}

// RotateSigningKey makes a new signing key. It is published at once and signs after
// a minute, when every node and every reader of the key set knows it; the old keys
// verify until the last token they signed has expired.
func (a *Authority) RotateSigningKey(ctx context.Context) error {
	r := &a.ring
	set, err := r.read(ctx)
	if err != nil {
		return err
	}
	now := r.now()
	fresh, err := r.newKey(now.Add(publishFirst))
	if err != nil {
		return err
	}
	next := keySet{}
	for _, k := range set {
		if !k.verifies(now) {
			continue
		}
		if k.Until.IsZero() {
			k.Until = fresh.SignsAt.Add(longestLife + maxSkew)
		}
		next = append(next, k)
	}
	if err := r.write(ctx, append(next, fresh), false); err != nil {
		return err
	}
	r.expire()
	return nil
}

// signingKeyLife is how long one key signs.
const signingKeyLife = 30 * 24 * time.Hour

// RotateDueSigningKey rotates if the newest key has signed for 30 days.
func (a *Authority) RotateDueSigningKey(ctx context.Context) error {
	set, err := a.ring.keys(ctx)
	if err != nil || len(set) == 0 || a.ring.now().Sub(set[len(set)-1].SignsAt) < signingKeyLife {
		return err
	}
	return a.RotateSigningKey(ctx)
}

// KeySet serves /.well-known/jwks.json (RFC 7517, section 5): the public halves of
// all keys whose tokens may still be valid, and of the one that will sign next.
func (a *Authority) KeySet(w http.ResponseWriter, r *http.Request) error {
	set, err := a.ring.keys(r.Context())
	if err != nil {
		return unavailable(err)
	}
	doc := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, k := range set {
		if k.verifies(a.now()) {
			doc.Keys = append(doc.Keys, jose.JSONWebKey{Key: k.public(), KeyID: k.ID, Algorithm: string(jose.EdDSA), Use: "sig"})
		}
	}
	body, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int(jwksMaxAge.Seconds())))
	_, err = w.Write(append(body, '\n'))
	return err
}
