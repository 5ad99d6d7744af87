package connect

import (
	"net/http"

	"claviger"
	"claviger/internal/broker"
	"claviger/internal/wire"
)

// status answers the status of a page that tells of an error.
func status(k claviger.Kind) int {
	switch k {
	case claviger.KindUnreadable:
		return http.StatusBadRequest
	case claviger.KindInvalid:
		return http.StatusUnprocessableEntity
	case claviger.KindUnauthenticated, claviger.KindNotFound:
		return http.StatusNotFound
	case claviger.KindDenied:
		return http.StatusForbidden
	case claviger.KindConflict, claviger.KindReauthorize:
		return http.StatusConflict
	case claviger.KindRateLimited:
		return http.StatusTooManyRequests
	case claviger.KindTooLarge:
		return http.StatusRequestEntityTooLarge
	case claviger.KindUpstream:
		return http.StatusBadGateway
	case claviger.KindTimeout:
		return http.StatusGatewayTimeout
	case claviger.KindUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// fail answers the page of an error that belongs to no flow. It leads nowhere: nothing
// in such a request says where would be safe.
func (s *surface) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := claviger.AsError(err)
	code := status(e.Kind)
	if code == http.StatusInternalServerError {
		s.log.ErrorContext(r.Context(), "a page failed", "request", wire.From(r).ID, "error", e.Error())
	}
	w.Header().Set(wire.ErrorHeader, e.FineCode())
	s.pages.write(w, s.log, code, "failed", failure{Title: "This did not work", Message: e.Message, Code: e.FineCode(), Request: wire.From(r).ID})
}

// failed answers the page of a flow that came to nothing, with the way back to the
// application, whose address the core has checked.
func (s *surface) failed(w http.ResponseWriter, r *http.Request, a broker.Arrival) {
	e := a.Failure
	code := status(e.Kind)
	if e.Kind == claviger.KindInternal {
		s.log.ErrorContext(r.Context(), "a callback failed", "request", wire.From(r).ID, "error", e.Error())
	}
	w.Header().Set(wire.ErrorHeader, e.FineCode())
	s.pages.write(w, s.log, code, "failed", failure{
		Title: "Not connected", Message: e.Message, Said: a.VendorSaid, Code: e.FineCode(), Request: wire.From(r).ID, ReturnTo: a.ReturnTo,
	})
}
