package hookverify

import (
	"crypto"
	"crypto/hmac"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"claviger"
)

// Answer is what a vendor wants to hear.
type Answer struct {
	Status int
	Header map[string]string // with Content-Type and nosniff where there is a body
	Body   []byte
	// Store is the signing secret that the vendor handed over and that the slot must keep
	// before the answer is sent; empty for none.
	Store claviger.Secret
	// Confirm is an https address on the vendor's hosts to GET, to say yes; empty for none.
	Confirm string
}

// maxHandshake bounds the body of a handshake. A larger one is a delivery, and is not
// parsed before it is verified.
const maxHandshake = 16 << 10

// challengeText is what may be signed for a stranger. A vendor that has its endpoint sign
// a challenge with the secret of its deliveries would otherwise sign a forged body for
// whoever sends one as the challenge: nothing that could be a body passes.
var challengeText = regexp.MustCompile(`^[A-Za-z0-9_+/=-]{1,128}$`)

// handshake is a compiled handshake.
type handshake struct {
	rule    handshakeRule
	when    ref
	token   ref
	over    text
	hash    crypto.Hash
	pattern *regexp.Regexp
	store   ref
	confirm ref
	answer  answerTexts
}

// answerTexts is a compiled answer.
type answerTexts struct {
	rule    answerRule
	body    text
	headers map[string]text
	json    map[string]text
}

func (c *compiler) handshakes(s *Scheme) {
	for _, rule := range c.doc.Handshake {
		h := handshake{
			rule: rule, when: c.ref("handshake.when", rule.When), store: c.ref("handshake.store", rule.Store),
			confirm: c.ref("handshake.confirm", rule.Confirm), answer: c.answer("handshake.answer", rule.Answer),
		}
		c.oneOf("handshake.method", rule.Method, http.MethodGet, http.MethodHead, http.MethodPost)
		if t := rule.Token; t != nil {
			h.token = c.ref("handshake.token", t.Ref)
		}
		if x := rule.Compute; x != nil {
			h.over, h.hash, h.pattern = c.text("handshake.compute", x.Over), s.hash, challengeText
			c.oneOf("handshake.compute.encoding", x.Encoding, "hex", "base64")
			c.oneOf("handshake.compute.hash", x.Hash, "", "sha256")
			if x.Hash != "" {
				h.hash = crypto.SHA256
			}
			if x.Pattern != "" {
				var err error
				if h.pattern, err = regexp.Compile(x.Pattern); err != nil {
					c.fault("handshake.compute.pattern", "%v", err)
				}
			}
			if x.Hash == "" && s.Kind != KindHMAC || !h.when.is() && len(h.over) == 0 {
				c.fault("handshake.compute", "is of hmac, or says its hash")
			}
		}
		if !h.when.is() && rule.Method == http.MethodPost {
			c.fault("handshake.when", "a POST is a delivery unless something marks it")
		}
		if rule.Confirm != "" && (rule.Unsigned || len(c.doc.Keys.Hosts) == 0) {
			c.fault("handshake.confirm", "an address is called only if it is signed and on the vendor's hosts")
		}
		if rule.Store != "" && !rule.Unsigned {
			c.fault("handshake.store", "what hands over the secret cannot be signed with it")
		}
		s.handshakes = append(s.handshakes, h)
	}
}

func (c *compiler) answer(field string, rule answerRule) answerTexts {
	a := answerTexts{rule: rule, body: c.text(field+".body", rule.Body), headers: map[string]text{}, json: map[string]text{}}
	for name, value := range rule.Headers {
		a.headers[name] = c.text(field+".headers", value)
	}
	for name, value := range rule.JSON {
		a.json[name] = c.text(field+".json", value)
	}
	hasBody := rule.Body != "" || len(rule.JSON) > 0
	if rule.Status < 200 || rule.Status > 299 || hasBody != (rule.ContentType != "") {
		c.fault(field, "a status of 2xx, and a content type where there is a body")
	}
	c.oneOf(field+".contentType", rule.ContentType, "", "text/plain", "application/json")
	if len(rule.JSON) > 0 && rule.ContentType != "application/json" || rule.Body != "" && rule.ContentType == "application/json" && len(a.body) > 1 {
		c.fault(field, "a JSON answer with holes is given by json, whose values are escaped")
	}
	return a
}

// Handshake answers a vendor that asks whether it may deliver here. Nil without an error
// means that the request is none: verify it as a delivery.
//
// Where the vendor signs its handshake it is verified like a delivery, and refused with
// the same codes. One that hands over the signing secret is none for a slot that has a
// key: only the first speaker is believed, and a stranger cannot replace the secret.
func Handshake(s *Scheme, keys []Key, req *Request, now time.Time) (*Answer, error) {
	if len(req.Body) > maxHandshake {
		return nil, nil
	}
	for i := range s.handshakes {
		h := &s.handshakes[i]
		r := s.read(req)
		if req.Method != h.rule.Method || !h.marked(r) {
			continue
		}
		usable, errKeys := s.usable(keys)
		if s.missing != "" || h.store.is() && errKeys == nil || h.rule.Needs != "" && s.setting(h.rule.Needs) {
			continue
		}
		if !h.rule.Unsigned {
			if _, err := Verify(s, keys, req, now); err != nil {
				return nil, err
			}
		}
		if t := h.rule.Token; t != nil {
			got, err := r.one(h.token)
			if want := s.filled[t.Setting]; err != nil || want == "" || !equalText(got, want) {
				return nil, refuse(CodeSignatureMismatch, "The handshake's %s is not %s.", h.token, t.Setting)
			}
		}
		if h.rule.Compute != nil {
			if h.rule.Compute.Hash == "" && errKeys != nil {
				return nil, errKeys
			}
			if err := h.compute(s, r, usable); err != nil {
				return nil, err
			}
		}
		return h.reply(s, r)
	}
	return nil, nil
}

// marked reports whether the request is this handshake.
func (h *handshake) marked(r *reading) bool {
	if !h.when.is() {
		return true
	}
	got, err := r.one(h.when)
	return err == nil && got != "" && (h.rule.Equals == "" || got == h.rule.Equals)
}

// setting reports whether a setting has no value yet.
func (s *Scheme) setting(key string) bool { return s.filled[key] == "" }

// compute makes the answer to a challenge with the first key.
func (h *handshake) compute(s *Scheme, r *reading, keys []Key) error {
	for _, p := range h.over {
		if !p.ref.is() || p.ref.source == "endpoint" || p.ref.source == "setting" {
			continue
		}
		if got, err := r.one(p.ref); err != nil || !h.pattern.MatchString(got) {
			return refuse(CodeRequest, "The handshake's %s is not the challenge of %s.", p.ref, s.Name)
		}
	}
	var err error
	var sum []byte
	if h.rule.Compute.Hash != "" {
		plain := h.hash.New()
		err = h.over.write(plain, r, nil)
		sum = plain.Sum(nil)
	} else {
		keys[0].secret.Use(func(secret []byte) {
			mac := hmac.New(h.hash.New, secret)
			err = h.over.write(mac, r, nil)
			sum = mac.Sum(nil)
		})
	}
	if err != nil {
		return refuse(CodeRequest, "The handshake's challenge %v.", err)
	}
	if r.computed = hex.EncodeToString(sum); h.rule.Compute.Encoding == "base64" {
		r.computed = base64.StdEncoding.EncodeToString(sum)
	}
	return nil
}

// reply fills the answer in. What is echoed is printable, short, and of a type that no
// browser runs.
func (h *handshake) reply(s *Scheme, r *reading) (*Answer, error) {
	a := h.answer.plain()
	bad := func(err error) error { return refuse(CodeRequest, "The handshake's value %v.", err) }
	for name, t := range h.answer.headers {
		value, err := t.fill(r)
		if err != nil || !printable(value) {
			return nil, bad(errMalformed)
		}
		a.Header[name] = value
	}
	if len(h.answer.json) > 0 {
		members := map[string]string{}
		for name, t := range h.answer.json {
			value, err := t.fill(r)
			if err != nil {
				return nil, bad(err)
			}
			members[name] = value
		}
		a.Body, _ = json.Marshal(members) // strings always encode
	} else if len(h.answer.body) > 0 {
		value, err := h.answer.body.fill(r)
		if err != nil || !printable(value) {
			return nil, bad(errMalformed)
		}
		a.Body = []byte(value)
	}
	if h.store.is() {
		value, err := r.one(h.store)
		if err != nil || len(value) > maxEcho {
			return nil, bad(errMalformed)
		}
		if _, err := s.NewKey("", claviger.NewSecretString(value)); err != nil {
			return nil, err
		}
		a.Store = claviger.NewSecretString(value)
	}
	if h.confirm.is() {
		address, err := r.one(h.confirm)
		if err != nil || !s.onHosts(address) {
			return nil, refuse(CodeKeyRefused, "The handshake's address is not on a host of %s.", s.Name)
		}
		a.Confirm = address
	}
	return &a, nil
}

// plain answers the answer without its holes.
func (t answerTexts) plain() Answer {
	a := Answer{Status: t.rule.Status, Header: map[string]string{}}
	if t.rule.ContentType != "" {
		a.Header["Content-Type"] = t.rule.ContentType + "; charset=utf-8"
		a.Header["X-Content-Type-Options"] = "nosniff"
		a.Body = []byte(t.rule.Body)
	}
	return a
}

// onHosts reports whether an address is https on one of the scheme's hosts.
func (s *Scheme) onHosts(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Host != u.Hostname() {
		return false
	}
	return slices.ContainsFunc(s.doc.Keys.Hosts, func(pattern string) bool {
		return matchHost(strings.Split(pattern, "."), strings.Split(strings.ToLower(u.Host), "."))
	})
}
