package hookverify

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"claviger"
)

// The codes of a refusal. All are of [claviger.KindUnauthenticated]; a surface may tell
// the sender less.
const (
	CodeNotConfigured      = "slot_not_configured" // no key that could verify anything
	CodeNotVerifiable      = "not_verifiable"      // proven outside of the request, by TLS
	CodeSignatureMissing   = "signature_missing"
	CodeSignatureMalformed = "signature_malformed"
	CodeSignatureMismatch  = "signature_mismatch"
	CodeTimestamp          = "timestamp_malformed" // missing, too, or there twice
	CodeTimestampOutside   = "timestamp_outside_tolerance"
	CodeRequest            = "request_refused" // something else that the scheme needs is not there
	CodeClaims             = "claims_refused"  // of a token: issuer, audience, times, the hash of the body
	CodeKeyRefused         = "key_refused"     // the delivery names a key that is not the vendor's
)

// refuse makes the error of a delivery that is not believed. Nothing that the delivery
// holds goes into the message.
func refuse(code, format string, args ...any) *claviger.Error {
	return claviger.Errorf(claviger.KindUnauthenticated, code, format, args...)
}

// Verdict is what a verified delivery says of itself.
type Verdict struct {
	KeyID string // of the key that verified it, as NewKey got it, or the vendor's name of a published one
	// ReplayKey is the same for every copy of the delivery and cannot be changed by who
	// copies it: a SHA-256 over what is signed, whatever key signed it. Where nothing of
	// the body is signed it covers the body, the delivery id and the event type.
	ReplayKey []byte
	// Repeats is set where the vendor sends identical bytes for different events ("fetch
	// the changes"): two such deliveries further apart than this are two events.
	Repeats time.Duration
	// DeliveryID is the vendor's id of the delivery; empty if it has none or if the body
	// is a batch. Unless DeliverySigned, whoever copies a delivery can change it.
	DeliveryID     string
	DeliverySigned bool
	EventType      string    // empty if not known, and for a batch of several types
	Timestamp      time.Time // signed; zero if the vendor signs none
	BodySigned     bool      // see Scheme.BodySigned
}

// Verify reports who sent a delivery: the verdict, or a refusal.
//
// All keys are tried, so that the old and the new secret may be active together during a
// rotation, and all signatures that the delivery lists; one match is enough. Keys of
// another scheme count as none. A header that decides and stands there twice is refused,
// and so is a weaker algorithm than the scheme's. Comparisons take constant time.
func Verify(s *Scheme, keys []Key, req *Request, now time.Time) (Verdict, error) {
	keys, err := s.usable(keys)
	if err != nil {
		return Verdict{}, err
	}
	r := s.read(req)
	if err := s.checkRequirements(r); err != nil {
		return Verdict{}, err
	}
	var proof proof
	if s.Kind == KindJWT {
		proof, err = s.provenByToken(r, keys, now)
	} else {
		proof, err = s.proven(r, keys)
	}
	if err != nil {
		return Verdict{}, err
	}
	v := Verdict{KeyID: proof.key.id, Repeats: s.doc.Repeats, DeliverySigned: s.signs(s.deliveryID), BodySigned: s.BodySigned()}
	if v.Timestamp, err = s.checkTime(r, proof, now); err != nil {
		return Verdict{}, err
	}
	v.DeliveryID, v.EventType = r.label(s.deliveryID), r.label(s.eventType)
	v.ReplayKey, err = s.replayKey(r, proof, v)
	return v, err
}

// proof is what authenticated a request.
type proof struct {
	key     Key
	payload []byte         // of a token
	claims  map[string]any // of a token
}

// usable answers the keys that can verify, or the refusal that there is none.
func (s *Scheme) usable(keys []Key) ([]Key, error) {
	if !s.Verifiable() {
		return nil, refuse(CodeNotVerifiable, "Deliveries of %s carry no signature: the TLS front end must check the client certificate.", s.Name)
	}
	if s.missing != "" {
		return nil, refuse(CodeNotConfigured, "The webhook scheme %s needs %s.", s.Key, s.missing)
	}
	out := slices.DeleteFunc(slices.Clone(keys), func(k Key) bool { return !k.usable(s) })
	if len(out) == 0 {
		return nil, refuse(CodeNotConfigured, "The webhook has no secret that could verify a delivery.")
	}
	if len(out) > MaxKeys {
		return nil, refuse(CodeNotConfigured, "The webhook has more than %d secrets.", MaxKeys)
	}
	return out, nil
}

// checkRequirements checks what the scheme demands of every delivery, such as a version.
func (s *Scheme) checkRequirements(r *reading) error {
	for i, x := range s.doc.Require {
		at := s.requirements[i]
		if x.Length > 0 {
			tree, err := r.parseTree()
			if err != nil {
				return refuse(CodeRequest, "The delivery's body %v.", err)
			}
			found := find(tree, at.name)
			if list, ok := first(found).([]any); !ok || len(list) != x.Length {
				return refuse(CodeRequest, "The delivery's %s must have %d elements.", at, x.Length)
			}
			continue
		}
		if got, err := r.one(at); err != nil || got != x.Equals {
			return refuse(CodeRequest, "The delivery's %s must be %s.", at, x.Equals)
		}
	}
	if s.bodyHash.is() && (!s.doc.BodyHash.UnlessForm || !r.isForm()) {
		sum := sha256.Sum256(r.req.Body)
		if got, err := r.one(s.bodyHash); err != nil || !equalText(got, hex.EncodeToString(sum[:])) {
			return refuse(CodeSignatureMismatch, "The delivery's %s is not the hash of its body.", s.bodyHash)
		}
	}
	return nil
}

func first(values []any) any {
	if len(values) != 1 {
		return nil
	}
	return values[0]
}

// proven authenticates a request of every kind but tokens of RFC 7519.
func (s *Scheme) proven(r *reading, keys []Key) (proof, error) {
	found, err := s.carried(r)
	if err != nil {
		return proof{}, err
	}
	if s.signed.uses("timestamp") || s.stampRef.source == "header" {
		if err := s.readStamp(r); err != nil {
			return proof{}, err
		}
	}
	for _, r.address = range s.addresses(r.address) {
		for _, k := range keys {
			ok, err := s.matches(r, k, found)
			if err != nil {
				return proof{}, refuse(CodeRequest, "What %s signs of a delivery %v.", s.Name, err)
			}
			if ok {
				return proof{key: k}, nil
			}
		}
	}
	return proof{}, refuse(CodeSignatureMismatch, "The signature in %s does not fit: another secret, or another text, was signed.", s.from)
}

// readStamp reads the timestamp, unless it came with the signature.
func (s *Scheme) readStamp(r *reading) error {
	if r.stamp != "" || !s.stampRef.is() || s.stampRef.source == "claim" {
		return nil
	}
	var err error
	if r.stamp, err = r.one(s.stampRef); err != nil {
		return refuse(CodeTimestamp, "The delivery's %s %v.", s.stampRef, err)
	}
	return nil
}

// checkTime answers the signed time, if there is one, within the tolerance.
func (s *Scheme) checkTime(r *reading, p proof, now time.Time) (time.Time, error) {
	rule := s.doc.Timestamp
	if rule == nil {
		return time.Time{}, nil
	}
	if err := s.readStamp(r); err != nil {
		return time.Time{}, err
	}
	if s.stampRef.source == "claim" {
		r.stamp, _ = scalar(p.claims[s.stampRef.name])
	}
	at, ok := parseTime(r.stamp, rule.Unit)
	if !ok {
		return time.Time{}, refuse(CodeTimestamp, "The delivery's timestamp is not in %s.", rule.Unit)
	}
	if at.Before(now.Add(-s.tolerance)) || at.After(now.Add(min(s.tolerance, maxFuture))) {
		return time.Time{}, refuse(CodeTimestampOutside, "The delivery was signed more than %v from now. Look at the clocks, or replay it from the vendor.", s.tolerance)
	}
	return at, nil
}

// maxSeconds is the end of the year 9999.
const maxSeconds = 253402300799

// parseTime reads a timestamp: digits alone, or RFC 3339.
func parseTime(s, unit string) (time.Time, bool) {
	if unit == "rfc3339" {
		at, err := time.Parse(time.RFC3339Nano, s)
		return at, err == nil && len(s) <= 40
	}
	if s == "" || len(s) > 15 || strings.Trim(s, "0123456789") != "" {
		return time.Time{}, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if unit == "milliseconds" {
		return time.UnixMilli(n), err == nil && n/1000 <= maxSeconds
	}
	return time.Unix(n, 0), err == nil && n <= maxSeconds
}

// signs reports whether what is signed covers a value.
func (s *Scheme) signs(x ref) bool {
	switch x.source {
	case "json":
		return s.signed.names(x) || s.BodySigned() && !s.signed.uses("lines") || slices.ContainsFunc(s.lines, func(l ref) bool { return l.name == x.name })
	case "form":
		return s.signed.names(x) || s.BodySigned()
	case "header":
		return s.signed.names(x)
	}
	return false
}

// replayKey hashes what a copy of the delivery cannot change.
func (s *Scheme) replayKey(r *reading, p proof, v Verdict) ([]byte, error) {
	h := sha256.New()
	_, _ = io.WriteString(h, "claviger webhook\n"+s.Key+"\n")
	bound := s.BodySigned() || s.Kind != KindJWT && len(s.signed) > 0
	switch {
	case !bound:
		for _, part := range []string{v.DeliveryID, v.EventType} {
			_, _ = io.WriteString(h, strconv.Itoa(len(part))+":"+part)
		}
		_, _ = h.Write(r.req.Body)
	case s.Kind == KindJWT:
		_, _ = io.WriteString(h, strconv.Itoa(len(p.payload))+":")
		_, _ = h.Write(p.payload)
		_, _ = h.Write(r.req.Body)
	default:
		if err := s.signed.write(h, r, nil); err != nil {
			return nil, refuse(CodeRequest, "What %s signs of a delivery %v.", s.Name, err)
		}
	}
	return h.Sum(nil), nil
}

// label answers a value for people and for deduplication: printable, short, and the same
// wherever it stands; else empty.
func (r *reading) label(x ref) string {
	if !x.is() {
		return ""
	}
	all, err := r.all(x)
	if err != nil || len(all) == 0 || len(slices.Compact(slices.Sorted(slices.Values(all)))) > 1 {
		return ""
	}
	if x.source == "header" && len(all) > 1 || len(all[0]) > 255 || !printable(all[0]) {
		return ""
	}
	return all[0]
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < 0x20 || c == 0x7f || c == '\uFFFD' })
}
