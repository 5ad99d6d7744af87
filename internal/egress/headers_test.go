package egress

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// set puts names into a header as they are spelled.
func set(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h[pairs[i]] = append(h[pairs[i]], pairs[i+1])
	}
	return h
}

func TestAbuse_119_CallersCredentialsAreRemoved(t *testing.T) {
	drop := InjectedNames("X-API-Key", "x-tenant_token")
	h := set(
		"Authorization", "Bearer clv_key_x", "authorization", "y", "Authorization ", "z", "AUTHORIZATION", "y2",
		"X-Api-Key", "a", "X_Api_Key", "b", "X-API-KEY", "c", "x-api-key", "d", "X-Api_Key", "e", " X-Api-Key", "f", "X-Api-Key\t", "g",
		"X-Tenant-Token", "h", "X_TENANT_TOKEN", "i",
		"Cookie", "session=1", "cookie", "2", "Proxy-Authorization", "j", "Proxy_Authorization", "k", "X-Amz-Security-Token", "l", "X_Amz_Security_Token", "m",
		"Api-Key", "clv_key_y", "Api_Key", "n",
		"Accept", "application/json", "Content-Type", "text/plain", "Idempotency-Key", "1", "X-Api-Key-Id", "kept", "X-Request-Id", "r",
		"User-Agent", "sdk/1", "Accept-Encoding", "gzip", "Notion-Version", "2022", "Range", "bytes=0-1", "If-None-Match", "e",
	)
	CleanRequestHeader(h, drop)
	want := set(
		"Accept", "application/json", "Content-Type", "text/plain", "Idempotency-Key", "1", "X-Api-Key-Id", "kept", "X-Request-Id", "r",
		"User-Agent", "sdk/1", "Accept-Encoding", "gzip", "Notion-Version", "2022", "Range", "bytes=0-1", "If-None-Match", "e",
	)
	if !reflect.DeepEqual(h, want) {
		t.Errorf("left %v, want %v", h, want)
	}
	CleanRequestHeader(h, drop)
	if !reflect.DeepEqual(h, want) {
		t.Errorf("a second time it left %v", h)
	}
}

func TestAbuse_120_HopByHop(t *testing.T) {
	for _, connection := range []string{
		"close, Authorization", "X-Api-Key, Host, Content-Length", "x-api-key", " X-Api-Key ,", ",,X-Api-Key", "keep-alive, X-Api-Key", "TE, Trailer, Upgrade",
	} {
		h := set(
			"Connection", connection, "X-Api-Key", "caller's", "Keep-Alive", "timeout=5", "Te", "trailers", "Trailer", "X-Sum", "Upgrade", "h2c",
			"Transfer-Encoding", "chunked", "Proxy-Connection", "keep-alive", "Proxy-Authenticate", "x", "Http2-Settings", "AAMAAABk", "Accept", "*/*",
			"Content-Length", "5", "Host", "evil.example", "Expect", "100-continue",
		)
		CleanRequestHeader(h, InjectedNames("X-Api-Key"))
		h.Set("X-Api-Key", "injected") // injection comes after
		if want := set("Accept", "*/*", "X-Api-Key", "injected"); !reflect.DeepEqual(h, want) {
			t.Errorf("Connection %q left %v", connection, h)
		}
	}
	h := set("Connection", "X-Extra", "X-Extra", "1", "Connection", "x-other", "X-Other", "2", "X-Kept", "3")
	CleanRequestHeader(h, nil)
	if !reflect.DeepEqual(h, set("X-Kept", "3")) {
		t.Errorf("fields that Connection names: %v", h)
	}
}

func TestRequestHeaderOfTheCallersSide(t *testing.T) {
	for _, name := range []string{
		"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded", "X_Forwarded_For", "Via", "X-Real-IP", "True-Client-IP",
		"CF-Connecting-IP", "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X_HTTP_Method_Override",
		"Traceparent", "tracestate", "baggage", "b3", "X-B3-TraceId", "Claviger-Hop", "claviger_connection", "Claviger-Anything", "Cookie2",
	} {
		h := set(name, "x", "Accept", "y")
		CleanRequestHeader(h, nil)
		if len(h) != 1 {
			t.Errorf("%s was left", name)
		}
	}
}

func TestAbuse_126_ResponseHeader(t *testing.T) {
	h := set(
		"Set-Cookie", "a=b", "Set-Cookie", "c=d", "Set-Cookie2", "x", "Clear-Site-Data", "*", "Access-Control-Allow-Origin", "*", "Access-Control-Expose-Headers", "x",
		"Strict-Transport-Security", "max-age=1", "Content-Security-Policy", "x", "Content-Security-Policy-Report-Only", "x", "Service-Worker-Allowed", "/",
		"Alt-Svc", "h3=\":443\"", "Public-Key-Pins", "x", "Refresh", "0; url=https://evil.example", "Nel", "x", "Report-To", "x",
		"X-Accel-Redirect", "/internal", "X-Sendfile", "/etc/passwd", "Claviger-Error", "forged", "Connection", "X-Hop", "X-Hop", "1", "Keep-Alive", "x",
		"Transfer-Encoding", "chunked", "Proxy-Authenticate", "Basic", "Upgrade", "h2c", "Trailer", "X-Sum",
		"Link", `</a.js>; rel=preload; as=script`, "Link", `<https://api.acme.example/?page=2>; rel="next"`, "Link", "<https://evil.example>; rel=PreConnect",
		"Content-Type", "application/json", "Etag", "e", "X-Ratelimit-Remaining", "5", "Retry-After", "3", "Location", "/x", "X-Content-Type-Options", "none",
		"Www-Authenticate", "Bearer",
	)
	CleanResponseHeader(h)
	want := set(
		"Link", `<https://api.acme.example/?page=2>; rel="next"`, "Content-Type", "application/json", "Etag", "e", "X-Ratelimit-Remaining", "5", "Retry-After", "3",
		"Location", "/x", "X-Content-Type-Options", "nosniff", "Www-Authenticate", "Bearer",
	)
	if !reflect.DeepEqual(h, want) {
		t.Errorf("left %v, want %v", h, want)
	}
	for contentType, active := range map[string]bool{
		"text/html": true, "TEXT/HTML; charset=utf-8": true, "image/svg+xml": true, "application/xhtml+xml": true, "text/html;;;": true, "text/html, x": true,
		"application/json; charset=utf-8": false, "text/plain": false, "text/event-stream": false, "image/png": false, "application/problem+json": false,
	} {
		h := set("Content-Type", contentType, "Content-Disposition", "inline")
		CleanResponseHeader(h)
		if got := h.Get("Content-Disposition") == "attachment" && strings.HasPrefix(h.Get("Content-Security-Policy"), "sandbox"); got != active {
			t.Errorf("%s: treated as active: %v", contentType, got)
		}
	}
	h = set("Link", "<a>; rel=prefetch")
	CleanResponseHeader(h)
	if _, ok := h["Link"]; ok {
		t.Error("an empty Link was left")
	}
}

func FuzzCleanRequestHeader(f *testing.F) {
	for _, seed := range []string{"X_Api_Key", "x-api-key", " X-API-KEY", "Authorization\t", "connection"} {
		f.Add(seed, "close, X-Api-Key")
	}
	f.Fuzz(func(t *testing.T, name, connection string) {
		h := set(name, "caller's", "Connection", connection, "X-Api-Key", "caller's")
		CleanRequestHeader(h, InjectedNames("X-Api-Key"))
		for left := range h {
			lax := strings.ToLower(strings.ReplaceAll(strings.Trim(left, " \t"), "_", "-"))
			if slices.Contains([]string{"x-api-key", "authorization", "cookie", "connection", "host", "transfer-encoding"}, lax) {
				t.Fatalf("%q was left of %q and Connection %q", left, name, connection)
			}
		}
	})
}

func BenchmarkCleanRequestHeader(b *testing.B) {
	drop := InjectedNames("X-Api-Key")
	h := http.Header{}
	b.ReportAllocs()
	for b.Loop() {
		for _, name := range []string{"Accept", "User-Agent", "Accept-Encoding", "Content-Type", "Authorization", "X-Request-Id"} {
			h[name] = nil
		}
		CleanRequestHeader(h, drop)
	}
}
