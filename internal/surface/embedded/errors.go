package embedded

import (
	"net/http"
	"strings"

	"claviger"
	"claviger/internal/wire"
)

// problem is the error body of every status but 422.
type problem struct {
	Detail string `json:"detail"`
}

// invalid is the error body of 422.
type invalid struct {
	Detail []fault `json:"detail"`
}

// fault says which part of a request is wrong.
type fault struct {
	Loc  []string `json:"loc"`
	Msg  string   `json:"msg"`
	Type string   `json:"type"`
}

// EncodeError is the wire.Encoder of this surface.
func EncodeError(f wire.Failure) (int, any) {
	switch f.Err.Kind {
	case claviger.KindUnauthenticated:
		return f.Status, problem{"Invalid authentication credentials"}
	case claviger.KindDenied:
		return f.Status, problem{"Access denied to this resource"}
	case claviger.KindInvalid:
		return http.StatusUnprocessableEntity, invalid{[]fault{faultOf(f.Err)}}
	default:
		return f.Status, problem{f.Err.Message}
	}
}

func faultOf(e *claviger.Error) fault {
	loc := []string{"body"}
	if e.Param != "" {
		loc = append(loc, strings.Split(e.Param, ".")...)
	}
	switch e.FineCode() {
	case "required":
		return fault{loc, "field required", "value_error.missing"}
	case "unknown_field":
		return fault{loc, "extra fields not permitted", "value_error.extra"}
	default:
		return fault{loc, e.Message, "value_error." + e.FineCode()}
	}
}
