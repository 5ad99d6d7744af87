package wire

import (
	"context"
	"crypto/hmac"
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"time"

	"claviger"
)

// IdempotencyHeader names a POST so that repeating it does nothing twice.
const IdempotencyHeader = "Idempotency-Key"

// ReplayedHeader marks an answer that was given before.
const ReplayedHeader = "Idempotent-Replayed"

// Idempotency remembers the answers to named requests for 24 hours, per caller and
// key. It must be atomic: of two Begins with the same key, one finds the other.
type Idempotency interface {
	// Begin claims the key, answering nil, or answers what holds it.
	Begin(ctx context.Context, caller claviger.Caller, key string, requestHash []byte) (*Prior, error)
	// Finish keeps the answer to a claimed key.
	Finish(ctx context.Context, caller claviger.Caller, key string, answer Stored) error
	// Abandon gives a claimed key free, as if it had never been used.
	Abandon(ctx context.Context, caller claviger.Caller, key string) error
}

// Prior is the request that holds an idempotency key.
type Prior struct {
	RequestHash []byte
	Done        bool // false: it is still running
	Answer      Stored
}

// Stored is an answer as it is kept: what shows a secret once is redacted in it.
type Stored struct {
	Status int
	Body   []byte // JSON
}

// Redactor is implemented by the output of an operation that shows a secret once,
// or by its Body. What Redacted answers is kept for a repeated request in the
// body's place.
type Redactor interface{ Redacted() any }

// keepFor bounds the writing of an answer, which goes on when the client has left.
const keepFor = 5 * time.Second

// takeKey reads the Idempotency-Key of a POST.
func (x *exchange) takeKey(r *http.Request, body []byte) error {
	values := r.Header.Values(IdempotencyHeader)
	if len(values) == 0 || r.Method != http.MethodPost || x.route.NotIdempotent || x.route.Public || x.api.config.Idempotency == nil {
		return nil
	}
	key := values[0]
	bad := len(values) > 1 || key == "" || len(key) > 255 || strings.ContainsFunc(key, func(c rune) bool { return c < 0x20 || c > 0x7e })
	if bad {
		return claviger.Invalid(IdempotencyHeader, "invalid_idempotency_key", "The %s must be 1 to 255 printable ASCII characters, given once.", IdempotencyHeader)
	}
	x.key, x.hash = key, requestHash(x.api.config.Prints, r, body)
	return nil
}

// idempotently runs f, or answers again what a request of the same key was
// answered. Answers of 500 and above are not kept: the caller should try again.
func idempotently[Out any](ctx context.Context, x *exchange, f func() (*Out, error)) (out *Out, err error) {
	if x.key == "" {
		return f()
	}
	keeper := x.api.config.Idempotency
	prior, err := keeper.Begin(ctx, x.caller, x.key, x.hash)
	if err != nil {
		return nil, err
	}
	if prior != nil {
		return nil, x.replay(prior)
	}
	kept := false
	defer func() {
		if !kept { // also when f panics
			after, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepFor)
			defer cancel()
			if err := keeper.Abandon(after, x.caller, x.key); err != nil {
				x.log.Error("cannot free an idempotency key", "request", x.from.ID, "error", err)
			}
		}
	}()
	out, err = f()
	answer, ok := x.storable(out, err)
	if !ok {
		return out, err
	}
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepFor)
	defer cancel()
	if kerr := keeper.Finish(after, x.caller, x.key, answer); kerr != nil {
		// The operation has happened; the answer matters more than its copy. The key
		// stays claimed, so that a repeat is refused rather than done twice.
		x.log.Error("cannot keep an idempotent answer", "request", x.from.ID, "error", kerr)
	}
	kept = true
	return out, err
}

// replay answers what prior was answered, in the form of an error because that is
// how an operation ends without an output of its own.
func (x *exchange) replay(prior *Prior) error {
	switch {
	case !hmac.Equal(prior.RequestHash, x.hash):
		return claviger.Errorf(claviger.KindConflict, "idempotency_key_reused", "This %s was used for another request. Use a new one.", IdempotencyHeader)
	case !prior.Done:
		return claviger.Errorf(claviger.KindConflict, "idempotency_in_progress", "A request with this %s is still running. Try again when it has ended.", IdempotencyHeader)
	}
	return &failure{
		status: prior.Answer.Status,
		body:   json.RawMessage(prior.Answer.Body),
		header: http.Header{ReplayedHeader: {"true"}},
	}
}

// storable makes the copy of an answer that may be kept.
func (x *exchange) storable(out any, err error) (Stored, bool) {
	if err != nil {
		e := claviger.AsError(err)
		status, body := x.encode(Failure{Err: e, Status: statusOf(e.Kind), RequestID: x.from.ID})
		return marshalStored(status, body)
	}
	v := reflect.ValueOf(out)
	if v.IsNil() {
		return Stored{}, false
	}
	status := x.route.Status
	if f := v.Elem().FieldByName("Status"); f.IsValid() && f.Kind() == reflect.Int && f.Int() != 0 {
		status = int(f.Int())
	}
	if r, ok := out.(Redactor); ok {
		return marshalStored(status, r.Redacted())
	}
	f := v.Elem().FieldByName("Body")
	if !f.IsValid() {
		return Stored{}, false
	}
	if r, ok := f.Interface().(Redactor); ok {
		return marshalStored(status, r.Redacted())
	}
	return marshalStored(status, f.Interface())
}

func marshalStored(status int, body any) (Stored, bool) {
	if status >= http.StatusInternalServerError {
		return Stored{}, false
	}
	b, err := json.Marshal(body)
	return Stored{Status: status, Body: b}, err == nil
}
