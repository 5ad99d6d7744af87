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

// fail answers the page of an error that belongs to no flow, in the clothes of the
// organization if it is known. It leads nowhere: nothing in such a request says where
// would be safe.
func (s *surface) fail(w http.ResponseWriter, r *http.Request, of claviger.Branding, err error) {
	s.tell(w, r, "This did not work", failure{frame: frame{Brand: brandOf(of)}}, claviger.AsError(err))
}

// failed answers the page of a flow that came to nothing, with the way back to the
// application, whose address the core has checked.
func (s *surface) failed(w http.ResponseWriter, r *http.Request, a broker.Arrival) {
	s.tell(w, r, "Not connected", failure{frame: frame{Brand: brandOf(s.core.Brand(r.Context(), a.Flow.Organization))}, Said: a.VendorSaid, ReturnTo: a.ReturnTo}, a.Failure)
}

func (s *surface) tell(w http.ResponseWriter, r *http.Request, title string, f failure, e *claviger.Error) {
	code := status(e.Kind)
	if code == http.StatusInternalServerError {
		s.log.ErrorContext(r.Context(), "a page failed", "request", wire.From(r).ID, "error", e.Error())
	}
	f.Title, f.Message, f.Code, f.Request = title, e.Message, e.FineCode(), wire.From(r).ID
	switch f.Code {
	case "session_ended", "flow_ended", "state_expired":
		f.Title, f.Over = "This link is over", true
	case "unknown_flow", "unknown_session", string(claviger.KindNotFound):
		f.Title, f.Over = "There is nothing here", true
	}
	w.Header().Set(wire.ErrorHeader, f.Code)
	s.pages.write(w, s.log, code, "failed", f)
}
