package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"claviger"
	"claviger/internal/catalog"
	"claviger/internal/gate"
	"claviger/internal/oauth"
	"claviger/internal/store"
)

const (
	// sessionLife is how long a person has to begin connecting.
	sessionLife = 30 * time.Minute
	// flowLife is how long a flow waits: for the person at the vendor, and then again
	// for the application to finish it.
	flowLife = 10 * time.Minute
	// maxAllowed bounds the connectors of one session.
	maxAllowed = 100
	// maxUserText bounds each text about an end user.
	maxUserText = 255
)

// connecting is what the connect flow needs beside the rest of the core.
type connecting struct {
	oauth *oauth.Client
	// act answers the caller of a browser within a session or flow.
	act func(claviger.OrganizationID, claviger.WorkspaceID, string, claviger.Request) claviger.Caller
	// refusals bounds how many callbacks of no known flow are recorded: anybody can
	// send them.
	refusals *rate.Limiter
}

// NewConnectSession is the input of [Broker.CreateConnectSession].
type NewConnectSession struct {
	User       claviger.EndUser
	Connectors []string             // keys; one at least, unless Connection is given
	Workspace  claviger.WorkspaceID // empty: the caller's, else "default"
	Settings   map[string]string    // fixed values of the connectors' variables
	Tags       map[string]string
	ReturnURL  string
	Delivery   claviger.Delivery // empty: redirect with a ReturnURL, else code
	// Connection is to be connected again. AllowAccountChange lets that lead to another
	// account of the vendor.
	Connection         claviger.ConnectionID
	AllowAccountChange bool
	// Console is the session of the person who begins in the console for themselves; empty
	// for every other caller. See [Broker.FinishReturned].
	Console claviger.SessionID
}

// ConnectSessionMade is a new session. Its page is at PageURL followed by the token,
// which is shown this once.
type ConnectSessionMade struct {
	Session claviger.ConnectSession
	Token   claviger.Secret
	PageURL string
}

// CreateConnectSession asks for a page where an end user connects something. Nothing is
// connected before the caller itself has finished it.
func (b *Broker) CreateConnectSession(ctx context.Context, c claviger.Caller, in NewConnectSession) (ConnectSessionMade, error) {
	verb := claviger.ConnectionsCreate
	if in.Connection != "" {
		verb = claviger.ConnectionsUpdate
	}
	if !c.May(verb) {
		return ConnectSessionMade{}, b.gate.Check(ctx, c, verb, own(c, "connect_session", ""))
	}
	s, err := b.draftSession(ctx, c, in)
	if err != nil {
		return ConnectSessionMade{}, err
	}
	token, hash, err := b.tokens.NewConnectToken()
	if err != nil {
		return ConnectSessionMade{}, err
	}
	id, err := b.newID(claviger.PrefixConnectSession)
	if err != nil {
		return ConnectSessionMade{}, err
	}
	s.ID, s.TokenHash = claviger.ConnectSessionID(id), hash
	err = b.gate.Change(ctx, c, verb, s.Resource(), func(tx *store.Tx, _ *gate.Ticket) error {
		return tx.CreateConnectSession(ctx, c.Scope, s)
	})
	return ConnectSessionMade{Session: s, Token: token, PageURL: b.publicURL + "/connect/"}, err
}

// draftSession checks everything about a session and answers it as it will be stored.
func (b *Broker) draftSession(ctx context.Context, c claviger.Caller, in NewConnectSession) (claviger.ConnectSession, error) {
	now := b.now()
	s := claviger.ConnectSession{
		Organization: c.Scope.Organization(), Initiator: c.OwnerID(), Console: in.Console, User: in.User, Settings: in.Settings, Tags: in.Tags,
		ReturnURL: in.ReturnURL, Delivery: in.Delivery, AllowAccountChange: in.AllowAccountChange,
		Status: claviger.ConnectOpen, CreatedAt: now, ExpiresAt: now.Add(sessionLife),
	}
	err := firstError(checkUser(in.User), checkLabels("settings", in.Settings), checkLabels("tags", in.Tags), b.checkPublicURL())
	if err != nil {
		return s, err
	}
	if in.Connection != "" {
		err = b.draftReconnect(ctx, c, in, &s)
	} else {
		err = b.draftAllowed(ctx, c, in, &s)
	}
	if err != nil {
		return s, err
	}
	return s, b.draftReturn(ctx, c, &s)
}

func (b *Broker) draftReconnect(ctx context.Context, c claviger.Caller, in NewConnectSession, s *claviger.ConnectSession) error {
	conn, err := b.find(ctx, c, claviger.ConnectionsUpdate, in.Connection)
	if err != nil {
		return err
	}
	if conn.Status == claviger.StatusRevoked {
		return conn.Status.Refusal()
	}
	switch {
	case len(in.Connectors) > 0 && !slices.Equal(in.Connectors, []string{conn.Connector}):
		return claviger.Invalid("allowedConnectors", "connector_mismatch", "The connection is for %s, so nothing else can be connected in its place.", conn.Connector)
	case in.Workspace != "" && in.Workspace != conn.Workspace:
		return claviger.Invalid("workspaceId", "workspace_mismatch", "The connection lies in another workspace, where it stays. Leave workspaceId out.")
	case len(in.Settings) > 0:
		return claviger.Invalid("settings", "settings_stay", "A connection that is connected again keeps its settings. Change them with PATCH /v1/connections/{id}.")
	case len(in.Tags) > 0:
		return claviger.Invalid("tags", "tags_stay", "A connection that is connected again keeps its tags. Change them with PATCH /v1/connections/{id}.")
	}
	if method, err := b.AuthMethod(ctx, c.Scope, &conn); err != nil {
		return err
	} else if mints(method) {
		return claviger.Invalid("connectionId", "nobody_consents", "Nobody consents to this connection. %s", wayOut(method))
	}
	s.Workspace, s.Connection, s.Reconnect, s.Connectors = conn.Workspace, conn.ID, true, []string{conn.Connector}
	return nil
}

func (b *Broker) draftAllowed(ctx context.Context, c claviger.Caller, in NewConnectSession, s *claviger.ConnectSession) (err error) {
	if len(in.Connectors) == 0 || len(in.Connectors) > maxAllowed {
		return claviger.Invalid("allowedConnectors", "required", "Name 1 to %d connectors that may be connected.", maxAllowed)
	}
	known := map[string]bool{}
	for i, key := range in.Connectors {
		param := fmt.Sprintf("allowedConnectors.%d", i)
		k, err := b.namedConnector(ctx, c.Scope, key)
		if err != nil {
			e := *claviger.AsError(err)
			if e.Kind == claviger.KindInvalid {
				e.Param = param
			}
			return &e
		}
		if !slices.ContainsFunc(k.Auth, func(m claviger.AuthMethod) bool { return onPage(&m) }) {
			return claviger.Invalid(param, "nobody_connects", "Nobody can connect %s on a page: each of its methods wants a client of its own, or no person at all. Use POST /v1/connections.", key)
		}
		if err := fixable(k, in.Settings, known); err != nil {
			return err
		}
		if !slices.Contains(s.Connectors, key) {
			s.Connectors = append(s.Connectors, key)
		}
	}
	for key := range in.Settings {
		if !known[key] {
			return claviger.Invalid("settings", "unknown_setting", "None of these connectors has a setting %s.", quoted(key))
		}
	}
	s.Workspace, err = b.workspaceFor(ctx, c, in.Workspace)
	return err
}

// fixable checks those of a session's settings that a connector knows, and notes them.
func fixable(k *claviger.Connector, settings map[string]string, known map[string]bool) error {
	for i := range k.Variables {
		v := &k.Variables[i]
		value, ok := settings[v.Key]
		if !ok {
			continue
		}
		known[v.Key] = true
		if value == "" {
			continue // its default
		}
		if _, err := catalog.CheckSetting(v, value); err != nil {
			return err
		}
	}
	return nil
}

func (b *Broker) draftReturn(ctx context.Context, c claviger.Caller, s *claviger.ConnectSession) error {
	switch s.Delivery {
	case "":
		s.Delivery = claviger.DeliverCode
		if s.ReturnURL != "" {
			s.Delivery = claviger.DeliverRedirect
		}
	case claviger.DeliverRedirect, claviger.DeliverPopup:
		if s.ReturnURL == "" {
			return claviger.Invalid("returnUrl", "required", "With delivery %s the page needs an address to hand the finish code to.", s.Delivery)
		}
	case claviger.DeliverCode:
	default:
		return claviger.Invalid("delivery", "invalid_format", "Use redirect, popup or code.")
	}
	if s.ReturnURL == "" {
		return nil
	}
	return b.checkReturn(ctx, c.Scope, s.ReturnURL)
}

// checkUser refuses what could not be shown to a person, and ids that would pass for
// claviger's own.
func checkUser(u claviger.EndUser) error {
	if u.ID == "" {
		return claviger.Invalid("user.id", "required", "Say who connects: your application's id of the person.")
	}
	for param, text := range map[string]string{"user.id": u.ID, "user.email": u.Email, "user.name": u.Name} {
		if len(text) > maxUserText || !printable(text) {
			return claviger.Invalid(param, "invalid_format", "It has at most %d bytes of printable text.", maxUserText)
		}
	}
	for _, prefix := range []string{claviger.PrefixUser, claviger.PrefixApplication, claviger.PrefixKey, claviger.PrefixWorkspace} {
		if claviger.ValidID(prefix, u.ID) {
			return claviger.Invalid("user.id", "invalid_format", "This is an id of claviger's own. Use the id that your application knows the person by.")
		}
	}
	return nil
}

// checkPublicURL refuses to send people's browsers to an address where a cookie cannot
// be kept secret: plain http is for the loopback alone.
func (b *Broker) checkPublicURL() error {
	u, err := url.Parse(b.publicURL)
	if err == nil && (u.Scheme == "https" || u.Scheme == "http" && loopbackName(u.Hostname())) {
		return nil
	}
	return claviger.Errorf(claviger.KindUnavailable, "public_url_insecure",
		"People cannot connect over plain http. The operator has to set public.url to an https address.")
}

// ConnectSession answers where a session stands, to callers of its workspace.
func (b *Broker) ConnectSession(ctx context.Context, c claviger.Caller, id claviger.ConnectSessionID) (claviger.ConnectSession, error) {
	return b.session(ctx, c, claviger.ConnectionsRead, id)
}

func (b *Broker) session(ctx context.Context, c claviger.Caller, v claviger.Verb, id claviger.ConnectSessionID) (claviger.ConnectSession, error) {
	var s claviger.ConnectSession
	err := store.ErrNotFound
	if claviger.ValidID(claviger.PrefixConnectSession, string(id)) {
		s, err = b.db.ConnectSession(ctx, c.Scope, id)
	}
	if errors.Is(err, store.ErrNotFound) {
		return s, b.gate.Absent(ctx, c, v, claviger.Resource{Type: "connect_session", ID: string(id)})
	}
	if err != nil {
		return s, err
	}
	if !s.Status.Final() && !b.now().Before(s.ExpiresAt) {
		s.Status = claviger.ConnectExpired
	}
	return s, b.gate.Check(ctx, c, v, s.Resource())
}

// ReturnURLs lists where browsers may be sent back to after connecting.
func (b *Broker) ReturnURLs(ctx context.Context, c claviger.Caller) ([]string, error) {
	if err := b.gate.Check(ctx, c, claviger.ConnectorsRead, orgWide(c, "return_urls", "")); err != nil {
		return nil, err
	}
	return b.db.ReturnURLs(ctx, c.Scope)
}

// PutReturnURLs replaces that list. Each address is complete and compared as a whole.
func (b *Broker) PutReturnURLs(ctx context.Context, c claviger.Caller, urls []string) ([]string, error) {
	r := orgWide(c, "return_urls", "")
	if err := b.gate.Check(ctx, c, claviger.ConnectorsWrite, r); err != nil {
		return nil, err
	}
	if len(urls) > maxAllowed {
		return nil, claviger.Invalid("urls", "invalid_format", "At most %d addresses are kept.", maxAllowed)
	}
	var list []string
	for i, raw := range urls {
		if _, err := returnAddress(fmt.Sprintf("urls.%d", i), raw); err != nil {
			return nil, err
		}
		if !slices.Contains(list, raw) {
			list = append(list, raw)
		}
	}
	return list, b.gate.Change(ctx, c, claviger.ConnectorsWrite, r, func(tx *store.Tx, _ *gate.Ticket) error {
		return tx.PutReturnURLs(ctx, c.Scope, list)
	})
}

// ConnectedPath begins the addresses of the console's own pages to which people come back
// from connecting; a connection's id follows.
const ConnectedPath = "/console/connected/"

// checkReturn refuses a return address that is not on the organization's list, letter by
// letter. The loopback needs no entry: it is the person's own machine, where a command
// line tool waits (RFC 8252, section 7.3). Nor does the console's own page, where only the
// person who began can finish.
func (b *Broker) checkReturn(ctx context.Context, s claviger.Scope, raw string) error {
	u, err := returnAddress("returnUrl", raw)
	if err != nil {
		return err
	}
	if u.Scheme == "http" || strings.HasPrefix(raw, b.publicURL+ConnectedPath) {
		return nil
	}
	list, err := b.db.ReturnURLs(ctx, s)
	if err != nil {
		return err
	}
	if !slices.Contains(list, raw) {
		return claviger.Invalid("returnUrl", "return_url_not_registered", "This address is not on the organization's list. Add it with PUT /v1/connect/return-urls, exactly as it is used.")
	}
	return nil
}

// returnAddress reads an address that a browser may be sent back to. Whatever two
// programs could read in two ways is refused, so that what was registered is where the
// browser goes: back slashes, user information, fragments, dot segments, escapes of
// separators, anything but plain ASCII.
func returnAddress(param, raw string) (*url.URL, error) {
	refuse := func(why string) (*url.URL, error) {
		return nil, claviger.Invalid(param, "invalid_return_url", "This cannot be returned to: %s.", why)
	}
	if raw == "" || len(raw) > 2048 {
		return refuse("it has 1 to 2048 characters")
	}
	for _, ch := range []byte(raw) {
		if ch <= ' ' || ch > '~' || strings.IndexByte("\\\"<>^`{|}#", ch) >= 0 {
			return refuse("it has characters that do not belong in an address, or a fragment")
		}
	}
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" || u.User != nil || u.Hostname() == "" || u.String() != raw || u.Host != strings.ToLower(u.Host) {
		return refuse("write it as https://host/path, in lower case up to the path and without a user")
	}
	if port := u.Port(); port == "0" || len(port) > 5 || len(port) == 5 && port > "65535" || strings.ContainsFunc(u.Hostname(), notOfHost) {
		return refuse("its host or port does not exist. Patterns are not known: list each address")
	}
	if u.Scheme != "https" && !(u.Scheme == "http" && loopbackName(u.Hostname())) {
		return refuse("it must be https; http is for 127.0.0.1, [::1] and localhost alone")
	}
	path := strings.ToLower(u.EscapedPath())
	for _, bad := range []string{"//", "%2e", "%2f", "%5c", "%00"} {
		if strings.Contains(path, bad) {
			return refuse("its path is ambiguous")
		}
	}
	for _, segment := range strings.Split(path, "/") {
		if segment == "." || segment == ".." {
			return refuse("its path is ambiguous")
		}
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil || query.Has("sessionId") || query.Has("connectionId") || query.Has("finishCode") {
		return refuse("its query is malformed, or has a parameter that claviger adds")
	}
	return u, nil
}

// notOfHost reports whether a character stands in no host name and no IP address.
func notOfHost(c rune) bool {
	return !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == ':' || c == '_')
}

// loopbackName reports whether a host is this very machine by its name alone.
func loopbackName(host string) bool {
	return host == "127.0.0.1" || host == "::1" || host == "localhost"
}

// origin is what a browser calls the origin of a return address.
func origin(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || raw == "" {
		return ""
	}
	return claviger.Origin(u)
}

// returnTo answers a return address with parameters added, which must not be secrets
// that outlive ten minutes: they stay in the browser's history.
func returnTo(raw string, add url.Values) string {
	u, err := url.Parse(raw)
	if err != nil || raw == "" {
		return ""
	}
	u.RawQuery = cmp.Or(strings.TrimPrefix(u.RawQuery+"&"+add.Encode(), "&"), u.RawQuery)
	return u.String()
}
