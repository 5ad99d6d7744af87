package egress

import (
	"mime"
	"net/http"
	"strings"
)

// CleanRequestHeader removes, in place, what a caller's request must not carry to a
// vendor: hop-by-hop fields and those that Connection names (RFC 9110, section
// 7.6.1), credentials and cookies, addresses and names of the caller's side, method
// overrides, trace context, claviger's own fields, and every name for which drop
// (which may be nil) answers true. Call it before injecting, so that no field that
// Connection names can take an injected one away.
//
// drop gets names as servers may read them: in canonical form, "_" and spaces
// turned into what they stand for; see [InjectedNames].
func CleanRequestHeader(h http.Header, drop func(name string) bool) {
	removeNamedByConnection(h)
	for name := range h {
		plain := plainName(name)
		if droppedFromRequest(plain) || drop != nil && drop(plain) {
			delete(h, name)
		}
	}
}

// InjectedNames answers a drop function for [CleanRequestHeader]: the headers that a
// connection injects, which no caller may send in any spelling.
func InjectedNames(names ...string) func(name string) bool {
	plain := make([]string, len(names))
	for i, name := range names {
		plain[i] = plainName(name)
	}
	return func(name string) bool {
		for _, p := range plain {
			if p == name {
				return true
			}
		}
		return false
	}
}

// plainName answers the canonical form of a name with the spellings folded that
// gateways (CGI, WSGI) cannot tell apart: X_Api_Key is X-Api-Key to them, and
// spaces at the ends are nothing.
func plainName(name string) string {
	if strings.ContainsAny(name, "_ \t") {
		name = strings.ReplaceAll(strings.Trim(name, " \t"), "_", "-")
	}
	return http.CanonicalHeaderKey(name)
}

// removeNamedByConnection deletes the fields that Connection lists.
func removeNamedByConnection(h http.Header) {
	for _, field := range h["Connection"] {
		for name := range strings.SplitSeq(field, ",") {
			if name = strings.Trim(name, " \t"); name != "" {
				h.Del(name)
			}
		}
	}
}

// hopByHop reports fields that belong to one connection.
func hopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings", "Proxy-Connection":
		return true
	}
	return strings.HasPrefix(name, "Proxy-")
}

func droppedFromRequest(name string) bool {
	switch name {
	case "Authorization", "Api-Key", "Cookie", "Cookie2", "X-Amz-Security-Token",
		"Host", "Content-Length", "Expect",
		"Forwarded", "Via", "X-Real-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "True-Client-Ip", "Client-Ip",
		"Cf-Connecting-Ip", "Fastly-Client-Ip", "X-Remote-Ip", "X-Remote-Addr", "X-Originating-Ip", "X-Proxyuser-Ip",
		"X-Original-Url", "X-Rewrite-Url", "X-Original-Host", "X-Host", "X-Http-Host-Override", "X-Original-Forwarded-For",
		"X-Http-Method-Override", "X-Http-Method", "X-Method-Override",
		"Traceparent", "Tracestate", "Baggage", "B3", "Uber-Trace-Id", "X-Amzn-Trace-Id", "X-Cloud-Trace-Context",
		"Sentry-Trace", "Newrelic", "Grpc-Trace-Bin", "Elastic-Apm-Traceparent", "Correlation-Context", "X-Ot-Span-Context":
		return true
	}
	return hopByHop(name) || strings.HasPrefix(name, "X-Datadog-") || strings.HasPrefix(name, "X-Instana-") || strings.HasPrefix(name, "Uberctx-") || strings.HasPrefix(name, "X-Forwarded-") || name == "X-Forwarded" ||
		strings.HasPrefix(name, "X-B3-") || strings.HasPrefix(name, "Claviger-")
}

// CleanResponseHeader removes, in place, what a vendor's answer must not tell a
// client of claviger: hop-by-hop fields, cookies, and whatever would act on
// claviger's own origin or on a gateway in front of it. It adds "nosniff", and
// keeps a browser from showing active content.
func CleanResponseHeader(h http.Header) {
	removeNamedByConnection(h)
	for name := range h {
		if droppedFromResponse(plainName(name)) {
			delete(h, name)
		}
	}
	if links := h["Link"]; len(links) > 0 {
		keepHarmlessLinks(h, links)
	}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	if types := h["Content-Type"]; len(types) > 0 && active(types[0]) {
		h.Set("Content-Disposition", "attachment")
		h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	}
}

func droppedFromResponse(name string) bool {
	switch name {
	case "Set-Cookie", "Set-Cookie2", "Clear-Site-Data", "Strict-Transport-Security", "Service-Worker-Allowed",
		"Alt-Svc", "Public-Key-Pins", "Public-Key-Pins-Report-Only", "Expect-Ct", "Refresh", "Nel", "Report-To", "Reporting-Endpoints",
		"Content-Security-Policy", "Content-Security-Policy-Report-Only", "Timing-Allow-Origin", "Origin-Agent-Cluster",
		"X-Accel-Redirect", "X-Accel-Expires", "X-Accel-Limit-Rate", "X-Accel-Charset", "X-Sendfile", "X-Lighttpd-Send-File":
		return true
	}
	return hopByHop(name) || strings.HasPrefix(name, "Access-Control-") || strings.HasPrefix(name, "Claviger-")
}

// keepHarmlessLinks keeps the links that API clients read (next, prev, help) and
// drops the lines with one that makes a browser fetch or connect.
func keepHarmlessLinks(h http.Header, links []string) {
	kept := links[:0]
	for _, link := range links {
		lower := strings.ToLower(link)
		if !strings.Contains(lower, "preload") && !strings.Contains(lower, "prefetch") &&
			!strings.Contains(lower, "preconnect") && !strings.Contains(lower, "prerender") && !strings.Contains(lower, "stylesheet") {
			kept = append(kept, link)
		}
	}
	if len(kept) == 0 {
		delete(h, "Link")
		return
	}
	h["Link"] = kept
}

// active reports media types that run scripts in a browser.
func active(contentType string) bool {
	if len(contentType) >= 16 && contentType[:16] == "application/json" {
		return false // nearly all answers: no need to parse
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return true // a browser may guess
	}
	switch media {
	case "text/html", "application/xhtml+xml", "image/svg+xml", "text/xml", "application/xml", "application/xslt+xml":
		return true
	}
	return false
}
