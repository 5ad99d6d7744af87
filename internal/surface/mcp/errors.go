package mcp

import (
	"encoding/json"
	"errors"
	"net/http"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"claviger"
	"claviger/internal/wire"
)

// The codes of this surface's own refusals.
const (
	codeMediaType  = "unsupported_media_type"
	codeBadMessage = "bad_message"
)

// The numbers of JSON-RPC 2.0, section 5.1, and one of the range that it leaves to
// servers.
const (
	codeParseError     = -32700
	codeInvalidRequest = -32600
	codeInternal       = -32603
	codeRefused        = -32000
)

// refusal is the error of a JSON-RPC answer.
type refusal struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    any    `json:"data,omitempty"`
}

// answer is a JSON-RPC answer that refuses.
type answer struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Error   refusal         `json:"error"`
}

func newAnswer(id json.RawMessage, e refusal) answer {
	if id == nil {
		id = json.RawMessage("null")
	}
	return answer{Version: "2.0", ID: id, Error: e}
}

// reason is what a refusal says beside its number, in the words of the other surfaces.
type reason struct {
	Code      string `json:"code"`
	RequestID string `json:"requestId,omitempty"`
}

// EncodeError is the wire.Encoder of this surface: what is refused before the SDK sees
// it.
func EncodeError(f wire.Failure) (int, any) {
	e, status := refusal{Code: codeRefused, Message: f.Err.Message, Data: reason{f.Err.FineCode(), f.RequestID}}, f.Status
	switch {
	case f.Err.Code == codeMediaType:
		status = http.StatusUnsupportedMediaType
	case f.Err.Code == codeBadMessage:
		e.Code = codeInvalidRequest
	case f.Err.Kind == claviger.KindUnreadable:
		e.Code = codeParseError
	case f.Err.Kind == claviger.KindInternal:
		e.Code = codeInternal
	}
	return status, newAnswer(nil, e)
}

// writeRefusal answers a message whose id is known.
func writeRefusal(w http.ResponseWriter, status int, id json.RawMessage, e refusal) {
	body, err := json.Marshal(newAnswer(id, e))
	if err != nil {
		http.Error(w, "", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// own answers the error of a tool as one of ours. What the SDK finds wrong with the
// arguments quotes them, so it is replaced.
func own(err error) error {
	var e *claviger.Error
	if errors.As(err, &e) {
		return e
	}
	return claviger.Invalid("arguments", "invalid_arguments", "The tool's name or its arguments do not fit; tools/list has the names and schemas. Names are case-sensitive, and none are left out or added.")
}

// refused is the answer of a tool that did not do what it was asked. The cause of a
// fault of ours goes to the log.
func (x *session) refused(err error, tool, request string) *sdk.CallToolResult {
	e := claviger.AsError(err)
	text := e.FineCode() + ": " + e.Message
	if e.Param != "" {
		text += " (" + e.Param + ")"
	}
	if e.Kind == claviger.KindInternal {
		x.log.Error("a tool failed", "request", request, "tool", tool, "error", e.Error())
		text += " (" + request + ")"
	}
	return &sdk.CallToolResult{IsError: true, Content: []sdk.Content{&sdk.TextContent{Text: text}}}
}
