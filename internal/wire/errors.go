package wire

import (
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"claviger"
)

// Failure is an error on its way out.
type Failure struct {
	Err       *claviger.Error
	Status    int // what the native surface answers
	RequestID string
}

// Encoder gives an error the status and the JSON shape of one surface. It may use
// the Message, Code, Param and the other public members of Err, never its cause.
type Encoder func(Failure) (status int, body any)

// ErrorBody is the error answer of the native surface.
type ErrorBody struct {
	Error ErrorDetail `json:"error"`
}

// ErrorDetail says what went wrong and what to do about it.
type ErrorDetail struct {
	Message      string           `json:"message" doc:"One sentence for a person, with the way out" example:"No such connection."`
	Type         string           `json:"type" doc:"The class of the error" enum:"validation_error,authentication_error,permission_error,not_found,conflict,rate_limited,upstream_error,reauthorization_required,unavailable,internal"`
	Code         string           `json:"code" doc:"The exact reason, stable, for programs" example:"not_found"`
	Param        string           `json:"param,omitempty" doc:"Dotted path of the field that is at fault" example:"credentials.apiKey"`
	RequestID    string           `json:"requestId,omitempty" doc:"Quote it to your operator" example:"req_01jd3v5r2aekt8m6qv0n1g8x9z"`
	Docs         string           `json:"docs" doc:"Where the error is explained" example:"/docs#errors"`
	Missing      []string         `json:"missing,omitempty" doc:"Permissions that the credential lacks at the vendor"`
	ReconnectURL string           `json:"reconnectUrl,omitempty" doc:"Where the owner can connect again"`
	References   []ErrorReference `json:"references,omitempty" doc:"What still names the object"`
	Path         string           `json:"path,omitempty" doc:"The kv:// path that has no value"`
}

// ErrorReference is one thing that names the object of a conflict.
type ErrorReference struct {
	Type       string     `json:"type"`
	ID         string     `json:"id"`
	Name       string     `json:"name,omitempty"`
	LastUsedAt *time.Time `json:"lastUsedAt,omitempty"`
}

// statusOf answers the native status of a kind of error.
func statusOf(k claviger.Kind) int {
	switch k {
	case claviger.KindUnreadable:
		return http.StatusBadRequest
	case claviger.KindInvalid:
		return http.StatusUnprocessableEntity
	case claviger.KindUnauthenticated:
		return http.StatusUnauthorized
	case claviger.KindDenied:
		return http.StatusForbidden
	case claviger.KindNotFound:
		return http.StatusNotFound
	case claviger.KindConflict:
		return http.StatusConflict
	case claviger.KindRateLimited:
		return http.StatusTooManyRequests
	case claviger.KindReauthorize:
		return http.StatusFailedDependency
	case claviger.KindUpstream:
		return http.StatusBadGateway
	case claviger.KindTimeout:
		return http.StatusGatewayTimeout
	case claviger.KindTooLarge:
		return http.StatusRequestEntityTooLarge
	case claviger.KindUnavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

func typeOf(k claviger.Kind) string {
	switch k {
	case claviger.KindUnreadable, claviger.KindInvalid, claviger.KindTooLarge:
		return "validation_error"
	case claviger.KindUnauthenticated:
		return "authentication_error"
	case claviger.KindDenied:
		return "permission_error"
	case claviger.KindUpstream, claviger.KindTimeout:
		return "upstream_error"
	case claviger.KindReauthorize:
		return "reauthorization_required"
	case claviger.KindNotFound, claviger.KindConflict, claviger.KindRateLimited, claviger.KindUnavailable:
		return string(k)
	default:
		return "internal"
	}
}

// NativeError is the [Encoder] of the native surface.
func NativeError(f Failure) (int, any) {
	e := f.Err
	d := ErrorDetail{
		Message: e.Message, Type: typeOf(e.Kind), Code: e.FineCode(), Param: e.Param, RequestID: f.RequestID,
		Docs: "/docs#errors", Missing: e.Missing, ReconnectURL: e.Reconnect, Path: e.Path,
	}
	for _, r := range e.References {
		ref := ErrorReference{Type: r.Type, ID: r.ID, Name: r.Name}
		if !r.LastUsedAt.IsZero() {
			at := r.LastUsedAt.UTC()
			ref.LastUsedAt = &at
		}
		d.References = append(d.References, ref)
	}
	return f.Status, ErrorBody{Error: d}
}

// failure is an encoded error. It is the one error type that huma ever writes.
type failure struct {
	status int
	body   any
	header http.Header
	cause  *claviger.Error
}

var (
	_ huma.StatusError    = (*failure)(nil)
	_ huma.HeadersError   = (*failure)(nil)
	_ huma.SchemaProvider = (*failure)(nil)
)

// Error implements error.
func (f *failure) Error() string {
	if f.cause != nil {
		return f.cause.Error()
	}
	return http.StatusText(f.status)
}

// GetStatus implements huma.StatusError.
func (f *failure) GetStatus() int { return f.status }

// GetHeaders implements huma.HeadersError.
func (f *failure) GetHeaders() http.Header { return f.header }

// MarshalJSON writes the encoded body.
func (f *failure) MarshalJSON() ([]byte, error) { return json.Marshal(f.body) }

// Schema describes the native shape in the OpenAPI document.
func (f *failure) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[ErrorBody](), true, "Error")
}

func asFailure(err error, f **failure) bool { return errors.As(err, f) }

// The refusals that have a status of their own in HTTP and none in the core.
func methodNotAllowed() *claviger.Error {
	return claviger.Errorf(claviger.KindUnreadable, "method_not_allowed", "This path does not take that method. The Allow header lists those it takes.")
}

func unsupportedMedia(types []string) *failureStatus {
	return &failureStatus{http.StatusUnsupportedMediaType, claviger.Errorf(claviger.KindUnreadable, "unsupported_media_type", "The body must be %s in UTF-8. Set Content-Type.", orList(types))}
}

// failureStatus is an error with a status that its kind does not have.
type failureStatus struct {
	status int
	err    *claviger.Error
}

// Error implements error.
func (f *failureStatus) Error() string { return f.err.Error() }

func orList(items []string) string {
	s := items[0]
	for _, i := range items[1:] {
		s += " or " + i
	}
	return s
}

func writeJSON(w http.ResponseWriter, f *failure) {
	b, err := json.Marshal(f.body)
	if err != nil {
		// One that cannot be encoded is a fault of ours, which the panic handler reports.
		panic("wire: the error bodies are structs that always have a JSON form")
	}
	for k, v := range f.header {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Del("Content-Length")
	w.WriteHeader(f.status)
	_, _ = w.Write(append(b, '\n'))
}
