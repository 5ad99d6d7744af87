package connect

import (
	"cmp"
	_ "embed" // the page's template
	"net/http"
	"net/url"

	"claviger"
	"claviger/internal/broker"
	"claviger/internal/surface/pagekit"
)

//go:embed assets/device.html
var deviceTemplate string

// lookAgain is how often the page of a device flow looks whether the vendor has said yes,
// in seconds: its script in the background, or where none runs the whole page.
const lookAgain = 5

// device is the page that shows a code to be entered at the vendor.
type device struct {
	frame
	Name, Open, Origin, Code string
	Ask                      string // answers whether there is a way on
}

// pairing shows where a device flow stands. The page asks again by itself until there is
// a way on.
func (s *surface) pairing(w http.ResponseWriter, r *http.Request, d broker.Departure) {
	s.setCookie(w, d.Cookie)
	if d.Arrival != nil {
		s.arrive(w, r, *d.Arrival)
		return
	}
	u, err := url.Parse(d.Pairing.VerificationURI)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	pagekit.Write(w, s.log, s.pages, http.StatusOK, "device", device{
		frame: frame{Title: "Allow it at " + d.Connector, Brand: pagekit.BrandOf(d.Brand), Reload: lookAgain},
		Name:  d.Connector, Code: d.Pairing.UserCode, Origin: claviger.Origin(u),
		Open: cmp.Or(d.Pairing.VerificationURIComplete, d.Pairing.VerificationURI), Ask: r.URL.Path + "/over",
	})
}

// over answers the page's script whether there is a way on: {"over": false} while the
// vendor waits.
func (s *surface) over(w http.ResponseWriter, r *http.Request) {
	over, err := s.core.PairingOver(r.Context(), claviger.FlowID(r.PathValue("flow")), s.cookie(r))
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	s.answer(w, r, map[string]bool{"over": over})
}
