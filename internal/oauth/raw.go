package oauth

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"claviger"
)

// Raw is an authorization server's answer as it came, unread: what a caller journals,
// sealed, before anything looks into it.
type Raw struct {
	Status      int
	ContentType string
	Encoding    string // Content-Encoding
	RetryAfter  string
	Challenge   string // WWW-Authenticate
	Received    time.Time
	Body        claviger.Secret // at most 1 MiB
}

// journal is the stored form of a Raw.
type journal struct {
	Format      int    `json:"format"`
	Status      int    `json:"status"`
	ContentType string `json:"contentType"`
	Encoding    string `json:"encoding"`
	RetryAfter  string `json:"retryAfter"`
	Challenge   string `json:"challenge"`
	Received    int64  `json:"received"` // milliseconds
	Body        []byte `json:"body"`
}

// Journal answers the answer as bytes to be sealed and stored.
func (r Raw) Journal() (claviger.Secret, error) {
	b, err := json.Marshal(journal{
		Format: 1, Status: r.Status, ContentType: r.ContentType, Encoding: r.Encoding, RetryAfter: r.RetryAfter,
		Challenge: r.Challenge, Received: r.Received.UnixMilli(), Body: []byte(reveal(r.Body)),
	})
	return claviger.NewSecret(b), err
}

// FromJournal reads what [Raw.Journal] wrote.
func FromJournal(s claviger.Secret) (Raw, error) {
	var j journal
	if err := json.Unmarshal([]byte(reveal(s)), &j); err != nil || j.Format != 1 {
		return Raw{}, claviger.AsError(errors.New("oauth: a journalled answer is not readable"))
	}
	return Raw{
		Status: j.Status, ContentType: j.ContentType, Encoding: j.Encoding, RetryAfter: j.RetryAfter,
		Challenge: j.Challenge, Received: time.UnixMilli(j.Received).UTC(), Body: claviger.NewSecret(j.Body),
	}, nil
}

// form is what an answer's body turned out to be.
type form int

const (
	formEmpty  form = iota
	formTree        // JSON or form-encoded, read into a tree
	formHTML        // a page for people: never read
	formBroken      // declared as readable, and is not
	formOther       // of a kind that no token comes in
)

// read answers the body as a tree of encoding/json, with numbers as json.Number and
// form-encoded values as strings. The declared format of the connector is tried first,
// then that of the media type; where neither says anything the first character decides.
func (r Raw) read(declared string) (any, form) {
	body, err := r.inflate()
	if err != nil {
		return nil, formBroken
	}
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
	if len(body) == 0 {
		return nil, formEmpty
	}
	media, params, err := mime.ParseMediaType(r.ContentType)
	switch {
	case r.ContentType == "":
		media = ""
	case err != nil:
		return nil, formOther
	}
	if charset := strings.ToLower(params["charset"]); charset != "" && charset != "utf-8" && charset != "utf8" && charset != "us-ascii" {
		return nil, formOther
	}
	object, html := body[0] == '{' || body[0] == '[', strings.Contains(media, "html")
	if body[0] == '<' || html && !object {
		return nil, formHTML
	}
	labelled := ""
	switch {
	case media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json"):
		labelled = "json"
	case media == "application/x-www-form-urlencoded":
		labelled = "form"
	case html, media != "" && media != "text/plain" && media != "text/javascript" && media != "application/javascript" && media != "application/octet-stream":
		return nil, formOther
	case declared == "" && object:
		labelled = "json"
	case declared == "":
		labelled = "form"
	}
	for _, format := range []string{declared, labelled} {
		if tree, err := readAs(format, body); err == nil {
			return tree, formTree
		}
	}
	return nil, formBroken
}

// readAs reads a body in a format; "" is none.
func readAs(format string, body []byte) (any, error) {
	switch format {
	case "json":
		return readJSON(body)
	case "form":
		return readForm(string(body))
	}
	return nil, errors.New("oauth: no format")
}

// inflate undoes a gzip that we did not ask for, with its own cap: dropping such an
// answer would drop the tokens in it.
func (r Raw) inflate() ([]byte, error) {
	body := []byte(reveal(r.Body))
	switch strings.ToLower(strings.TrimSpace(r.Encoding)) {
	case "", "identity":
		return body, nil
	case "gzip", "x-gzip":
	default:
		return nil, errors.New("oauth: unknown content encoding")
	}
	in, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(in, maxAnswer+1))
	if err == nil && len(out) > maxAnswer {
		err = errors.New("oauth: answer over its cap")
	}
	return out, err
}

// readForm reads one form-encoded line. A name that stands twice has two meanings,
// and so none.
func readForm(s string) (any, error) {
	if !strings.Contains(s, "=") || strings.ContainsAny(s, " \t\r\n<>{}\"") {
		return nil, errors.New("oauth: not form-encoded")
	}
	values, err := url.ParseQuery(s)
	if err != nil {
		return nil, errors.New("oauth: not form-encoded")
	}
	tree := make(map[string]any, len(values))
	for name, list := range values {
		if len(list) != 1 {
			return nil, errors.New("oauth: a name stands twice")
		}
		if list[0] != "" {
			tree[name] = list[0]
		}
	}
	return tree, nil
}

// maxDepth bounds how deep an answer nests.
const maxDepth = 32

// readJSON reads one JSON value with exact names, each once, and nothing after it.
func readJSON(b []byte) (any, error) {
	if !utf8.Valid(b) {
		return nil, errors.New("oauth: JSON is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	v, err := readValue(dec, 0)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("oauth: something follows the JSON value")
	}
	return v, nil
}

func readValue(dec *json.Decoder, depth int) (any, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, errors.New("oauth: malformed JSON")
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return token, nil
	}
	if depth == maxDepth {
		return nil, errors.New("oauth: JSON nests too deep")
	}
	if delim == '[' {
		items := []any{}
		for dec.More() {
			item, err := readValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			items = append(items, item)
		}
		_, err = dec.Token()
		return items, err
	}
	members := map[string]any{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, errors.New("oauth: malformed JSON")
		}
		name := fmt.Sprint(key)
		if _, twice := members[name]; twice {
			return nil, errors.New("oauth: a name stands twice")
		}
		if members[name], err = readValue(dec, depth+1); err != nil {
			return nil, err
		}
	}
	_, err = dec.Token()
	return members, err
}
