package native

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"claviger"
	"claviger/api"
	"claviger/internal/broker"
	"claviger/internal/wire"
)

func (s *surface) mountExpirations(a *wire.API) {
	wire.Handle(a, both("GET", "/v1/expirations", "listExpirations", "List what comes to an end, the first at the front", claviger.ConnectionsRead), s.listExpirations)
	s.calendar = both("GET", "/v1/expirations.ics", "expirationsCalendar", "The same as an iCalendar feed, without what claviger renews by itself", claviger.ConnectionsRead)
	s.calendar.OwnAuth = true
	s.calendar.Description = "For calendar programs: the API key is the password of Basic authentication, the user name does not matter. " +
		"The parameters workspaceId and connector choose as in the list."
	wire.HandleRaw(a, s.calendar, s.expirationsCalendar)
}

type listExpirations struct {
	wire.Paging
	WorkspaceID string `query:"workspaceId" maxLength:"64"`
	Connector   string `query:"connector" maxLength:"128" doc:"Key of a connector"`
}

func (s *surface) listExpirations(ctx context.Context, c claviger.Caller, in *listExpirations) (*out[wire.List[api.Expiration]], error) {
	return list(s, c, "expirations", in.Paging, []string{in.WorkspaceID, in.Connector}, expiration, expirationPlace,
		func(p broker.Page) ([]broker.Expiration, bool, error) {
			all, err := s.core.Expirations(ctx, c, broker.ConnectionFilter{Workspace: claviger.WorkspaceID(in.WorkspaceID), Connector: in.Connector})
			part, more := window(all, p, expirationPlace)
			return part, more, err
		})
}

// expirationPlace answers where an end stands in the list: it grows along it.
func expirationPlace(e broker.Expiration) string {
	return at(e.At).Format("2006-01-02T15:04:05.000") + " " + string(e.Connection.ID) + " " + e.Kind
}

func expiration(e broker.Expiration) api.Expiration {
	x := api.Expiration{
		Object: "expiration", ConnectionID: string(e.Connection.ID), Name: e.Connection.Name, Connector: e.Connection.Connector,
		WorkspaceID: string(e.Connection.Workspace), Kind: e.Kind, At: at(e.At), Certainty: "estimated", Renews: e.Renews,
	}
	if e.Known {
		x.Certainty = "known"
	}
	return x
}

// expirationsCalendar answers the calendar to a program that can do no more than Basic
// authentication.
func (s *surface) expirationsCalendar(w http.ResponseWriter, r *http.Request, nobody claviger.Caller) {
	feed, err := s.expirationsFeed(r, nobody.From)
	if err != nil {
		if claviger.IsKind(err, claviger.KindUnauthenticated) {
			w.Header().Set("WWW-Authenticate", `Basic realm="claviger", charset="UTF-8"`)
		}
		wire.WriteError(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/calendar; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write([]byte(feed))
}

func (s *surface) expirationsFeed(r *http.Request, from claviger.Request) (string, error) {
	token := r.Header.Get("Api-Key")
	if _, password, ok := r.BasicAuth(); ok {
		token = password
	} else if scheme, rest, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		token = strings.TrimSpace(rest)
	}
	c, err := s.tokens.AuthenticateToken(r.Context(), token, from)
	if err != nil {
		return "", err
	}
	if err := s.api.Admit(r.Context(), s.calendar, c); err != nil {
		return "", err
	}
	filter, err := feedFilter(r.URL.RawQuery)
	if err != nil {
		return "", err
	}
	all, err := s.core.Expirations(r.Context(), c, filter)
	if err != nil {
		return "", err
	}
	return calendar(all), nil
}

// feedFilter reads what a feed's address chooses: those of the list's parameters that have
// a meaning here. Any other is refused, as everywhere.
func feedFilter(rawQuery string) (f broker.ConnectionFilter, err error) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return f, claviger.Errorf(claviger.KindUnreadable, "unreadable", "The query cannot be read.")
	}
	for name, values := range query {
		switch {
		case len(values) > 1:
			return f, claviger.Invalid(name, "invalid_value", "This parameter stands twice.")
		case name == "workspaceId":
			f.Workspace = claviger.WorkspaceID(values[0])
		case name == "connector":
			f.Connector = values[0]
		default:
			return f, claviger.Invalid("", "unknown_parameter", "A feed has the parameters workspaceId and connector.")
		}
	}
	return f, nil
}

// maxFeed bounds the events of a feed; the later ones come into it in time.
const maxFeed = 1000

// calendar writes RFC 5545.
func calendar(all []broker.Expiration) string {
	var b strings.Builder
	line := func(name, value string) { fold(&b, name+":"+value) }
	line("BEGIN", "VCALENDAR")
	line("VERSION", "2.0")
	line("PRODID", "-//claviger//expirations//EN")
	line("X-WR-CALNAME", "Claviger: what comes to an end")
	n := 0
	for _, e := range all {
		if e.Renews || n == maxFeed {
			continue
		}
		n++
		certainty := "The vendor named this time."
		if !e.Known {
			certainty = "Estimated from what is known of the vendor's tokens."
		}
		line("BEGIN", "VEVENT")
		line("UID", string(e.Connection.ID)+"-"+e.Kind+"@claviger")
		line("DTSTAMP", stamp(e.Connection.UpdatedAt))
		line("DTSTART", stamp(e.At))
		line("SUMMARY", escapeText(fmt.Sprintf("%s (%s): %s ends", e.Connection.Name, e.Connection.Connector, wordOf(e.Kind))))
		line("DESCRIPTION", escapeText(certainty+" "+remedy(e)))
		line("TRANSP", "TRANSPARENT")
		line("END", "VEVENT")
	}
	line("END", "VCALENDAR")
	return b.String()
}

func stamp(t time.Time) string { return t.UTC().Format("20060102T150405Z") }

// remedy says what to do before an end.
func remedy(e broker.Expiration) string {
	switch e.Kind {
	case broker.ExpiresCertificate, broker.ExpiresSecret:
		return "Make another at the vendor and store it with PUT /v1/connectors/" + e.Connection.Connector + "/client before it."
	}
	return "Connect " + string(e.Connection.ID) + " again before it."
}

func wordOf(kind string) string {
	switch kind {
	case broker.ExpiresAccess:
		return "access token"
	case broker.ExpiresRefresh:
		return "refresh token"
	case broker.ExpiresIdle:
		return "unused refresh token"
	case broker.ExpiresCertificate:
		return "client certificate"
	case broker.ExpiresSecret:
		return "client secret"
	}
	return kind
}

// escapeText writes a TEXT value (RFC 5545, section 3.3.11).
func escapeText(s string) string {
	return strings.NewReplacer(`\`, `\\`, ";", `\;`, ",", `\,`, "\r\n", `\n`, "\n", `\n`, "\r", `\n`).Replace(s)
}

// fold writes a content line in lines of at most 75 bytes, cut between characters (RFC
// 5545, section 3.1).
func fold(b *strings.Builder, text string) {
	width := 0
	for _, r := range text {
		size := len(string(r))
		if width+size > 75 {
			b.WriteString("\r\n ")
			width = 1
		}
		b.WriteRune(r)
		width += size
	}
	b.WriteString("\r\n")
}
