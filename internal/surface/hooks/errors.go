package hooks

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"claviger"
)

// noRoute is what every path is answered that there is not.
func noRoute() *claviger.Error {
	return claviger.Errorf(claviger.KindNotFound, "no_route", "There is nothing at this path.")
}

func tooLarge(limit int64) *claviger.Error {
	return claviger.Errorf(claviger.KindTooLarge, "too_large", "The body is larger than %d bytes.", limit)
}

func busy() *claviger.Error {
	e := claviger.Errorf(claviger.KindRateLimited, "queue_full", "More arrives than can be taken. Send it again.")
	e.RetryAfter = time.Second
	return e
}

// unread says why a body could not be read.
func unread(cause error, limit int64) *claviger.Error {
	var longer *http.MaxBytesError
	switch {
	case errors.As(cause, &longer), errors.Is(cause, io.EOF):
		return tooLarge(limit)
	case errors.Is(cause, os.ErrDeadlineExceeded):
		return claviger.Errorf(claviger.KindUnreadable, "body_timeout", "The body did not arrive in time.").With(cause)
	}
	return claviger.Errorf(claviger.KindUnreadable, "unreadable", "The body cannot be read.").With(cause)
}
