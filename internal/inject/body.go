package inject

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"claviger"
)

// maxBody is the largest body that is rewritten, in bytes.
const maxBody = 4 << 20

var errBody = errors.New("inject: the body is no JSON object without duplicate names")

// body sets one member of a JSON object or one value of a form. The body is parsed
// and written anew: splicing text would let a duplicate name, a charset or an
// encoding hide a second value from us and show it to the vendor.
func (r *renderer) body(req *http.Request, in *claviger.Injection) error {
	v, err := r.render(nil, in.Value, nil)
	if err != nil {
		return err
	}
	data, form, err := readBody(req)
	if err != nil {
		return err
	}
	if form {
		values, err := url.ParseQuery(string(data))
		if err != nil {
			return unsupported("The form body cannot be read, so the credential cannot be added to it.")
		}
		for name := range values {
			if strings.EqualFold(name, in.Name) {
				delete(values, name)
			}
		}
		values.Set(in.Name, string(v))
		replaceBody(req, []byte(values.Encode()), "application/x-www-form-urlencoded")
		return nil
	}
	out, err := setMember(data, in.Name, string(v))
	if err != nil {
		return unsupported("The body must be one JSON object without duplicate names, so that the credential can be added to it.")
	}
	replaceBody(req, out, "application/json")
	return nil
}

// readBody answers the whole body if it may be rewritten, and whether it is a form.
// Only a body that can be read again is touched: one that streams belongs to the
// caller of the proxy.
func readBody(req *http.Request) (data []byte, form bool, err error) {
	if req.Header.Get("Content-Encoding") != "" {
		return nil, false, unsupported("The connector sends its credential in the body, which must not be compressed.")
	}
	if req.Body == nil || req.Body == http.NoBody {
		if req.Method == http.MethodGet || req.Method == http.MethodHead {
			return nil, false, unsupported("The connector sends its credential in the body, which this method does not have.")
		}
		kind := req.Header.Get("Content-Type")
		return nil, strings.HasPrefix(kind, "application/x-www-form-urlencoded"), nil
	}
	if req.GetBody == nil {
		return nil, false, unsupported("The connector sends its credential in the body, which works for actions, not for the proxy. Run an action instead.")
	}
	kind, params, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	charset := strings.ToLower(params["charset"])
	if err != nil || charset != "" && charset != "utf-8" || kind != "application/json" && kind != "application/x-www-form-urlencoded" {
		return nil, false, unsupported("The connector sends its credential in the body, which must be JSON or a form in UTF-8.")
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, false, unsupported("The body cannot be read again.")
	}
	defer func() { _ = body.Close() }()
	data, err = io.ReadAll(io.LimitReader(body, maxBody+1))
	if err != nil || len(data) > maxBody {
		return nil, false, unsupported("The body is too large to add the credential to it.")
	}
	return data, kind != "application/json", nil
}

func unsupported(message string) error {
	return claviger.Errorf(claviger.KindInvalid, "body_injection_unsupported", "%s", message)
}

// setMember answers the JSON object with one member replaced. Values keep their
// exact text.
func setMember(data []byte, name, value string) ([]byte, error) {
	members := map[string]json.RawMessage{}
	if len(bytes.TrimSpace(data)) > 0 {
		if err := strictObject(data); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(data, &members); err != nil {
			return nil, err
		}
	}
	for key := range members {
		if strings.EqualFold(key, name) {
			delete(members, key)
		}
	}
	var quoted bytes.Buffer
	enc := json.NewEncoder(&quoted)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return nil, err
	}
	members[name] = bytes.TrimSpace(quoted.Bytes())
	quoted = bytes.Buffer{}
	enc = json.NewEncoder(&quoted)
	enc.SetEscapeHTML(false)
	err := enc.Encode(members)
	return bytes.TrimSpace(quoted.Bytes()), err
}

// strictObject refuses anything but one JSON object whose objects, at every depth,
// name each member once.
func strictObject(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return errBody
	}
	if err := distinct(dec, true, 1); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errBody
	}
	return nil
}

// distinct reads the rest of an object or array that has just been opened.
func distinct(dec *json.Decoder, object bool, depth int) error {
	const maxDepth = 64
	if depth > maxDepth {
		return errBody
	}
	seen := map[string]bool{}
	for dec.More() {
		if object {
			tok, err := dec.Token()
			key, ok := tok.(string)
			if err != nil || !ok || seen[key] {
				return errBody
			}
			seen[key] = true
		}
		tok, err := dec.Token()
		if err != nil {
			return errBody
		}
		if d, ok := tok.(json.Delim); ok {
			if err := distinct(dec, d == '{', depth+1); err != nil {
				return err
			}
		}
	}
	if _, err := dec.Token(); err != nil {
		return errBody
	}
	return nil
}

func replaceBody(req *http.Request, data []byte, contentType string) {
	req.Body = io.NopCloser(bytes.NewReader(data))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
	req.ContentLength = int64(len(data))
	req.TransferEncoding = nil
	setHeader(req.Header, "Content-Type", contentType)
	if _, ok := req.Header["Content-Length"]; ok {
		setHeader(req.Header, "Content-Length", strconv.Itoa(len(data)))
	}
}
