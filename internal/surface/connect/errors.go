package connect

import (
	"net/http"

	"claviger"
	"claviger/internal/broker"
	"claviger/internal/surface/pagekit"
	"claviger/internal/wire"
)

// fail answers the page of an error that belongs to no flow, in the clothes of the
// organization if it is known. It leads nowhere: nothing in such a request says where
// would be safe.
func (s *surface) fail(w http.ResponseWriter, r *http.Request, of claviger.Branding, err error) {
	s.tell(w, r, "This did not work", failure{frame: frame{Brand: pagekit.BrandOf(of)}}, claviger.AsError(err))
}

// failed answers the page of a flow that came to nothing, with the way back to the
// application, whose address the core has checked.
func (s *surface) failed(w http.ResponseWriter, r *http.Request, a broker.Arrival) {
	s.tell(w, r, "Not connected", failure{frame: frame{Brand: pagekit.BrandOf(s.core.Brand(r.Context(), a.Flow.Organization))}, Said: a.VendorSaid, ReturnTo: a.ReturnTo}, a.Failure)
}

func (s *surface) tell(w http.ResponseWriter, r *http.Request, title string, f failure, e *claviger.Error) {
	code := pagekit.Status(e.Kind)
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
	pagekit.Write(w, s.log, s.pages, code, "failed", f)
}
