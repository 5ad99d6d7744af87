package mcp

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"claviger"
	"claviger/internal/wire"
)

// site is where the surface is served.
type site struct{ origin, host string }

func siteOf(publicURL string) (site, error) {
	u, err := url.Parse(publicURL)
	if err != nil || u.Host == "" {
		return site{}, errors.New("mcp: the public URL has no host")
	}
	return site{origin: strings.ToLower(u.Scheme + "://" + u.Host), host: strings.ToLower(u.Hostname())}, nil
}

// check refuses what a page of another site could have a browser send: one that says
// where it comes from, and one that names a host which is not ours because its name was
// made to lead here (DNS rebinding). An address has no name that could be made to lead
// elsewhere.
func (s site) check(r *http.Request) error {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	_, err := netip.ParseAddr(host)
	if err != nil && host != s.host && host != "localhost" {
		return claviger.Errorf(claviger.KindDenied, "bad_host", "This server does not answer to that host name. CLAVIGER_PUBLIC_URL says which it has.")
	}
	origin := r.Header.Values("Origin")
	foreign := len(origin) > 1 || len(origin) == 1 && strings.ToLower(origin[0]) != s.origin && strings.ToLower(origin[0]) != "http://"+strings.ToLower(r.Host)
	if from := r.Header.Get("Sec-Fetch-Site"); foreign || from != "" && from != "same-origin" {
		return claviger.Errorf(claviger.KindDenied, "cross_origin", "Pages of other sites cannot use this address.")
	}
	return nil
}

// message is what is read of a JSON-RPC message before the SDK reads it.
type message struct {
	Method string
	id     json.RawMessage
}

// read accepts one JSON-RPC 2.0 message that can be understood in one way only, and puts
// it back for the SDK.
func (s *surface) read(w http.ResponseWriter, r *http.Request) (message, error) {
	if err := s.site.check(r); err != nil {
		return message{}, err
	}
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if charset := params["charset"]; err != nil || media != "application/json" || charset != "" && !strings.EqualFold(charset, "utf-8") ||
		len(r.Header.Values("Content-Type")) > 1 || r.Header.Get("Content-Encoding") != "" {
		return message{}, claviger.Errorf(claviger.KindUnreadable, codeMediaType, "The body must be application/json in UTF-8. Set Content-Type.")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
	var over *http.MaxBytesError
	if errors.As(err, &over) {
		return message{}, claviger.Errorf(claviger.KindTooLarge, "too_large", "A message has at most %d bytes.", maxMessage)
	}
	if err != nil {
		return message{}, claviger.Errorf(claviger.KindUnreadable, "unreadable", "The body cannot be read.").With(err)
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return readMessage(body)
}

// envelope are the members of messages.
var envelope = []string{"jsonrpc", "id", "method", "params", "result", "error"}

// callMembers are the members of the parameters of tools/call.
var callMembers = []string{"name", "arguments", "_meta"}

// readMessage checks the members that say what is called and whose answer it is. Their
// names are compared exactly: a reader that ignores case would see others.
func readMessage(body []byte) (message, error) {
	if err := wire.CheckJSON(body); err != nil {
		return message{}, err
	}
	m, ok := membersOf(body, envelope)
	if !ok {
		return message{}, badMessage("Send one JSON-RPC 2.0 message, an object with jsonrpc, id, method and params only. Batches are not served.")
	}
	var out message
	if string(m["jsonrpc"]) != `"2.0"` {
		return out, badMessage(`The member jsonrpc must be "2.0".`)
	}
	if id, there := m["id"]; there {
		if c := id[0]; c != '"' && c != '-' && (c < '0' || c > '9') || c != '"' && bytes.ContainsAny(id, ".eE") || len(id) > maxID {
			return out, badMessage("The member id must be a string or an integer, and short.")
		}
		out.id = id
	}
	if method, there := m["method"]; there && (json.Unmarshal(method, &out.Method) != nil || out.Method == "") {
		return out, badMessage("The member method must be a string.")
	}
	if params, there := m["params"]; there {
		var known []string
		if out.Method == "tools/call" {
			known = callMembers
		}
		if _, ok := membersOf(params, known); !ok {
			return out, badMessage("The member params must be an object, of tools/call with name, arguments and _meta only.")
		}
	}
	return out, nil
}

const maxID = 128 // bytes

func badMessage(text string) error {
	return claviger.Errorf(claviger.KindUnreadable, codeBadMessage, "%s", text)
}

// membersOf answers the members of an object that has none but those known; nil: any.
func membersOf(text json.RawMessage, known []string) (map[string]json.RawMessage, bool) {
	if len(text) == 0 || bytes.TrimLeft(text, " \t\r\n")[0] != '{' {
		return nil, false
	}
	var out map[string]json.RawMessage
	if json.Unmarshal(text, &out) != nil {
		return nil, false
	}
	for name := range out {
		if known != nil && !slices.Contains(known, name) {
			return nil, false
		}
	}
	return out, true
}

// protocols are the versions of MCP that have sessions, newest first. A draft lives in
// one, so that versions without them are not served.
var protocols = []string{"2025-11-25", "2025-06-18", "2025-03-26"}

// outside answers a message that came without a session and begins none. Clients of
// versions without sessions learn which to fall back to.
func (m message) outside(w http.ResponseWriter, r *http.Request) {
	asked := r.Header.Get("Mcp-Protocol-Version")
	if asked <= protocols[0] {
		writeRefusal(w, http.StatusBadRequest, m.id, refusal{Code: codeInvalidRequest, Message: "Begin a session with initialize, and name it in Mcp-Session-Id."})
		return
	}
	if len(asked) > maxID {
		asked = asked[:maxID]
	}
	writeRefusal(w, http.StatusBadRequest, m.id, refusal{
		Code: sdk.CodeUnsupportedProtocolVersion, Message: "That version of the protocol is not served.",
		Data: sdk.UnsupportedProtocolVersionData{Supported: protocols, Requested: asked},
	})
}
