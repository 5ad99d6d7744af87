package simulate

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"claviger"
	"claviger/internal/catalog"
)

// Vendor is the simulation of one connector's vendor. It is safe for concurrent use.
type Vendor struct {
	conn     *claviger.Connector
	now      func() time.Time
	settings map[string]string
	bases    map[string]*url.URL // by auth method
	calls    []*call
	values   map[string]map[string]string // by auth method and field
	grants   map[string]*grant            // by auth method, of oauth2

	mu       sync.Mutex
	mood     Mood
	signal   int
	throttle int
	faults   []string
}

// Mood is how the vendor answers calls of its API.
type Mood int

// The moods.
const (
	Normal    Mood = iota
	Expired        // as if no credential were valid, in the words of one expiry signal
	Throttled      // as if there were too many requests
)

// maxBody bounds what is read of a request.
const maxBody = 1 << 20

// New makes the vendor of a connector. An error says what of the document cannot be
// simulated.
func New(conn *claviger.Connector, now func() time.Time) (*Vendor, error) {
	v := &Vendor{conn: conn, now: now, settings: map[string]string{}, bases: map[string]*url.URL{}, values: map[string]map[string]string{}, grants: map[string]*grant{}}
	s := &sampler{}
	for i := range conn.Variables {
		v.settings[conn.Variables[i].Key] = s.setting(&conn.Variables[i], conn.AllowedHosts)
	}
	for i := range conn.Auth {
		m := &conn.Auth[i]
		settings, err := catalog.CheckSettings(conn.For(m.Key), v.Settings(m.Key))
		if err != nil {
			return nil, fmt.Errorf("simulate: made-up settings: %w", err)
		}
		maps.Copy(v.settings, settings)
		if v.bases[m.Key], err = catalog.Base(conn.For(m.Key), v.settings); err != nil {
			return nil, err
		}
		v.values[m.Key] = map[string]string{}
		for j := range m.Fields {
			v.values[m.Key][m.Fields[j].Key] = s.credential(&m.Fields[j])
		}
		if m.OAuth != nil {
			if v.grants[m.Key], err = v.newGrant(m, i); err != nil {
				return nil, err
			}
		}
	}
	v.calls = v.listCalls()
	return v, nil
}

// Settings answers the settings of an auth method under which the vendor is simulated.
// Those that the method discovers are among them.
func (v *Vendor) Settings(method string) map[string]string {
	out := map[string]string{}
	for _, x := range v.conn.For(method).Variables {
		if value, ok := v.settings[x.Key]; ok {
			out[x.Key] = value
		}
	}
	return out
}

// Values answers what a person would bring for an auth method, by field.
func (v *Vendor) Values(method string) map[string]string { return v.values[method] }

// Input makes up an input for an action, in the shapes of encoding/json.
func (v *Vendor) Input(a *claviger.Action) (map[string]any, error) {
	dec := json.NewDecoder(strings.NewReader(string(a.InputJSON)))
	dec.UseNumber()
	var schema map[string]any
	if err := dec.Decode(&schema); err != nil {
		return nil, err
	}
	s := &sampler{}
	input, _ := s.input(schema).(map[string]any)
	if _, declared := schema["properties"]; !declared {
		input = map[string]any{}
	}
	return input, a.Input.Validate(input)
}

// Behave sets the mood. n chooses among the connector's expiry signals, or among the
// statuses that mean "too many requests".
func (v *Vendor) Behave(m Mood, n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.mood, v.signal, v.throttle = m, n, n
}

// Faults answers what was wrong with the requests so far, in order, and forgets it.
func (v *Vendor) Faults() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := v.faults
	v.faults = nil
	return out
}

func (v *Vendor) fault(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.faults) < 100 {
		v.faults = append(v.faults, fmt.Sprintf(format, args...))
	}
}

// ServeHTTP answers as the vendor's hosts would; the Host of the request tells which.
func (v *Vendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	in, err := readRequest(w, r)
	if err != nil {
		v.fault("%s: %v", r.URL.Path, err)
		http.Error(w, "unreadable", http.StatusBadRequest)
		return
	}
	if v.serveGrant(w, in) {
		return
	}
	if !slices.ContainsFunc(v.conn.Auth, func(m claviger.AuthMethod) bool { return v.bases[m.Key].Hostname() == in.host }) {
		v.fault("a request to %s", in.host)
		http.Error(w, "no such host", http.StatusMisdirectedRequest)
		return
	}
	v.mu.Lock()
	mood, signal, throttle := v.mood, v.signal, v.throttle
	v.mu.Unlock()
	if mood == Throttled {
		v.tooMany(w, throttle)
		return
	}
	m := v.authentic(in)
	if mood == Expired || m == nil {
		v.unauthorized(w, signal)
		return
	}
	v.answer(w, in, m)
}

// authentic answers the method whose credential a request carries, in every place that
// the method declares; nil for none.
func (v *Vendor) authentic(in *request) *claviger.AuthMethod {
	for i := range v.conn.Auth {
		m := &v.conn.Auth[i]
		if v.bases[m.Key].Hostname() != in.host {
			continue
		}
		if m.Type == claviger.AuthNone {
			return m
		}
		candidates := []map[string]string{v.values[m.Key]}
		if g := v.grants[m.Key]; g != nil {
			candidates = g.credentials()
		}
		for _, values := range candidates {
			if v.carries(in, m, values) {
				return m
			}
		}
	}
	return nil
}

func (v *Vendor) carries(in *request, m *claviger.AuthMethod, values map[string]string) bool {
	for i := range m.Inject {
		place := &m.Inject[i]
		want := func(t claviger.Template) string {
			s, _ := t.Render(func(name string) (string, bool) {
				if value, ok := values[name]; ok {
					return value, true
				}
				return v.settings[name], true
			}, nil)
			return s
		}
		if place.In == "basic" {
			user, password, ok := in.BasicAuth()
			if !ok || user != want(place.Username) || password != want(place.Password) || len(in.Header.Values("Authorization")) != 1 {
				return false
			}
			continue
		}
		if got := in.values(place.In, place.Name); len(got) != 1 || got[0] != want(place.Value) {
			return false
		}
	}
	return len(m.Inject) > 0
}

// unauthorized refuses in the words of the n-th expiry signal.
func (v *Vendor) unauthorized(w http.ResponseWriter, n int) {
	status, body := http.StatusUnauthorized, any(map[string]any{"message": "unauthorized"})
	if len(v.conn.Expiry) > 0 {
		s := &v.conn.Expiry[n%len(v.conn.Expiry)]
		if s.Status != 0 {
			status = s.Status
		}
		if s.Header != "" {
			w.Header().Set(s.Header, fmt.Sprint(s.Equals))
		}
		if s.Path != "" {
			body = place(body, s.Path, s.Equals)
		}
	}
	writeJSON(w, status, body)
}

// tooMany answers with the n-th status for it and, where the vendor has one, the
// header that says when to go on: after a minute.
func (v *Vendor) tooMany(w http.ResponseWriter, n int) {
	limit, status := &v.conn.RateLimit, http.StatusTooManyRequests
	if len(limit.Status) > 0 {
		status = limit.Status[n%len(limit.Status)]
	}
	if limit.RemainingHeader != "" {
		w.Header().Set(limit.RemainingHeader, "0")
	}
	at := v.now().Add(time.Minute)
	switch limit.ResetFormat {
	case "epochSeconds":
		w.Header().Set(limit.ResetHeader, fmt.Sprint(at.Unix()))
	case "epochMilliseconds":
		w.Header().Set(limit.ResetHeader, fmt.Sprint(at.UnixMilli()))
	case "deltaSeconds":
		w.Header().Set(limit.ResetHeader, "60")
	case "rfc3339":
		w.Header().Set(limit.ResetHeader, at.UTC().Format(time.RFC3339))
	case "duration":
		w.Header().Set(limit.ResetHeader, "1m0s")
	}
	if limit.ResetFormat == "" || limit.RemainingHeader == "" {
		w.Header().Set("Retry-After", "60")
	}
	writeJSON(w, status, map[string]any{"message": "too many requests"})
}

// place puts a value at a path of the document, which the catalog has parsed before.
func place(tree any, path string, value any) any {
	p, err := catalog.ParsePath(path)
	if err != nil || path == "" {
		return tree
	}
	return p.Put(tree, value)
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
