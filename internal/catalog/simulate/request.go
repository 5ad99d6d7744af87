package simulate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// request is a request with its body read.
type request struct {
	*http.Request
	host string // lower case, without the port
	path string // escaped
	body []byte
	form url.Values     // of a form, or of the members of a JSON object that are single values
	json any            // of a JSON body
	kind string         // media type of the body; "" for none
	args map[string]any // of a JSON object
}

func readRequest(w http.ResponseWriter, r *http.Request) (*request, error) {
	in := &request{Request: r, host: strings.ToLower(r.Host), path: r.URL.EscapedPath(), form: url.Values{}}
	if host, _, err := net.SplitHostPort(in.host); err == nil {
		in.host = host
	}
	var err error
	if in.body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody)); err != nil || len(in.body) == 0 {
		return in, err
	}
	if in.kind, _, err = mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil {
		return in, errors.New("a body without a media type")
	}
	switch in.kind {
	case "application/x-www-form-urlencoded":
		in.form, err = url.ParseQuery(string(in.body))
	case "application/json":
		err = json.Unmarshal(in.body, &in.json)
		in.args, _ = in.json.(map[string]any)
		for name, value := range in.args {
			switch value.(type) {
			case string, float64, bool:
				in.form.Set(name, fmt.Sprint(value))
			}
		}
	}
	return in, err
}

// values answers what stands at a place of an injection.
func (in *request) values(place, name string) []string {
	switch place {
	case "header":
		return in.Header.Values(name)
	case "query":
		return in.URL.Query()[name]
	case "cookie":
		var out []string
		for _, c := range in.CookiesNamed(name) {
			out = append(out, c.Value)
		}
		return out
	}
	return in.form[name]
}
