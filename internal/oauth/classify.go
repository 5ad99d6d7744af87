package oauth

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"claviger"
)

// Verdict is what an answer means for the one who asked. It is one of our own words,
// whatever the vendor's was.
type Verdict string

// The verdicts. Only InvalidGrant ends a connection; InvalidClient is about the
// registration that many connections share.
const (
	Granted        Verdict = "granted"                 // it has what was asked for
	InvalidGrant   Verdict = "invalid_grant"           // code or refresh token is dead: the owner must connect again
	InvalidClient  Verdict = "invalid_client"          // the client's id, secret, key or permitted grants are wrong
	InvalidRequest Verdict = "invalid_request"         // the connector's document does not fit the vendor
	InvalidScope   Verdict = "invalid_scope"           // scope, resource or audience is refused
	Denied         Verdict = "access_denied"           // the person, or a policy, said no
	Pending        Verdict = "authorization_pending"   // device: nobody has decided yet
	SlowDown       Verdict = "slow_down"               // device: ask less often
	Expired        Verdict = "expired_token"           // device: the code is over
	UseDPoPNonce   Verdict = "use_dpop_nonce"          // the proof needs the vendor's nonce
	RateLimited    Verdict = "rate_limited"            // After says when to come again, if known
	Unavailable    Verdict = "temporarily_unavailable" // failing, moved, or a page for people instead of an answer
	Unintelligible Verdict = "bad_token_response"      // a success without what was asked for: it may have been used up
	Refused        Verdict = "refused"                 // refused, and not said why
)

// maxRetryAfter caps what a vendor may make us wait.
const maxRetryAfter = 15 * time.Minute

// Class is an answer's meaning. It holds no word of the vendor's.
type Class struct {
	Verdict Verdict
	Status  int           // of HTTP
	After   time.Duration // of RateLimited and Unavailable, at most 15 minutes; zero if not known
}

// Classify answers what a token endpoint's answer means. A failure is one whatever
// its status: GitHub answers errors with 200, Slack with ok=false.
func Classify(cfg Config, raw Raw) Class {
	return classify(cfg, raw, orElse(cfg.Rules.TokenResponse.AccessToken, "$.access_token"))
}

// classify is Classify for any endpoint: wanted is the path of the value that a
// success has, empty if a success may have no body.
func classify(cfg Config, raw Raw, wanted string) Class {
	r := &cfg.Rules.TokenResponse
	tree, kind := raw.read(r.Format)
	c := Class{Status: raw.Status, After: raw.after()}
	ok := raw.Status >= 200 && raw.Status <= 299
	if said, found := find(tree, r.OK, "$.ok"); found && (r.OK != "" || said == false) {
		ok = ok && affirms(said)
	}
	if ok && kind == formTree && wanted != "" {
		if _, found := find(tree, wanted); found {
			c.Verdict = Granted
			return c
		}
	}
	c.Verdict = c.failure(r, raw, tree, kind)
	if c.Verdict == "" && ok {
		c.Verdict = Granted
		if wanted != "" {
			c.Verdict = Unintelligible
		}
	}
	if c.Verdict == "" {
		c.Verdict = Refused
	}
	return c
}

// failure answers the verdict that an answer gives, "" if it gives none.
func (c Class) failure(r *claviger.OAuthTokenResponse, raw Raw, tree any, kind form) Verdict {
	said := word(tree, r.Error)
	if v := known(r.Errors[orElse(said, strconv.Itoa(raw.Status))]); v != "" {
		return v
	}
	switch {
	case strings.Contains(raw.Challenge, string(UseDPoPNonce)) && raw.Status == http.StatusUnauthorized:
		return UseDPoPNonce
	case raw.Status >= 500 || raw.Status == http.StatusRequestTimeout || raw.Status == http.StatusTooEarly:
		return Unavailable // a failing server may say anything, and no connection dies of it
	case raw.Status >= 300 && raw.Status <= 399 || kind == formHTML:
		return Unavailable
	}
	v := known(said)
	switch {
	case raw.Status == http.StatusTooManyRequests && v != SlowDown && v != Pending:
		return RateLimited
	case v != "":
		return v
	case said != "":
		return Refused
	case kind == formBroken || kind == formOther:
		if raw.Status <= 299 {
			return Unintelligible
		}
	}
	return ""
}

// affirms reads a vendor's own mark of success.
func affirms(said any) bool {
	switch said := said.(type) {
	case bool:
		return said
	case string:
		s := strings.ToLower(said)
		return s != "" && s != "false" && s != "error" && s != "0" && s != "fail" && s != "failed"
	default:
		return said != nil
	}
}

// word answers the vendor's word for a failure: at the declared path or at $.error,
// and inside it if that is an object. It is compared, never shown.
func word(tree any, declared string) string {
	v, _ := find(tree, declared, "$.error", "$.errors[0]")
	switch v := v.(type) {
	case string:
		return v
	case map[string]any:
		return text(v, "", "$.code", "$.error", "$.type", "$.status")
	case bool:
		if v {
			return "true"
		}
	}
	return ""
}

// known answers the verdict of a word: those of RFC 6749 (4.1.2.1, 5.2), RFC 8628
// (3.5), RFC 8693, RFC 8707, RFC 9449, OpenID Connect, and vendors' own that mean the
// same and nothing else.
func known(said string) Verdict {
	switch strings.ToLower(said) {
	case "invalid_grant",
		"interaction_required", "login_required", "consent_required", "account_selection_required", // OpenID Connect, Microsoft
		"bad_refresh_token", "bad_verification_code", // GitHub
		"invalid_refresh_token", "invalid_code", "code_already_used", "token_revoked": // Slack and others
		return InvalidGrant
	case "invalid_client", "unauthorized_client", "unsupported_grant_type", "unsupported_response_type",
		"incorrect_client_credentials",                                          // GitHub
		"invalid_client_id", "bad_client_secret", "inactive_org", "app_blocked": // Slack, Salesforce
		return InvalidClient
	case "invalid_request", "invalid_dpop_proof", "redirect_uri_mismatch", "bad_redirect_uri", "invalid_request_uri", "invalid_request_object":
		return InvalidRequest
	case "invalid_scope", "invalid_target", "unmet_authentication_requirements":
		return InvalidScope
	case "access_denied", "user_denied", "user_cancelled_login", "user_cancelled_authorize", "consent_denied":
		return Denied
	case "authorization_pending":
		return Pending
	case "slow_down":
		return SlowDown
	case "expired_token":
		return Expired
	case "use_dpop_nonce":
		return UseDPoPNonce
	case "temporarily_unavailable", "server_error", "service_unavailable", "internal_error", "fatal_error", "request_timeout":
		return Unavailable
	case "ratelimited", "rate_limited", "rate_limit_exceeded", "too_many_requests":
		return RateLimited
	}
	return ""
}

// after reads Retry-After (RFC 9110, section 10.2.3): seconds or a date.
func (r Raw) after() time.Duration {
	value := strings.TrimSpace(r.RetryAfter)
	if n, ok := number(value); ok {
		return min(seconds(n), maxRetryAfter)
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(r.Received), 0), maxRetryAfter)
	}
	return 0
}

// Dead reports whether the grant is over, so that only its owner can bring it back.
func (c Class) Dead() bool { return c.Verdict == InvalidGrant }

// Registration reports whether the fault is in what all connections of the client
// share: an alarm for its operator, and no connection's death.
func (c Class) Registration() bool {
	return c.Verdict == InvalidClient || c.Verdict == InvalidRequest || c.Verdict == InvalidScope
}

// Retry reports whether the same request may succeed later.
func (c Class) Retry() bool { return c.Verdict == RateLimited || c.Verdict == Unavailable }

// Err answers the class as an error for people, nil if it is Granted.
func (c Class) Err() error {
	upstream := func(code, message string) error { return claviger.Errorf(claviger.KindUpstream, code, "%s", message) }
	switch c.Verdict {
	case Granted:
		return nil
	case InvalidGrant, Expired:
		return claviger.Errorf(claviger.KindReauthorize, "reauthorization_required", "The vendor no longer accepts this grant. Its owner must connect again.")
	case Denied:
		return claviger.Errorf(claviger.KindDenied, "access_denied", "The vendor says that access was denied. Connect again and allow it, or ask the account's administrator.")
	case InvalidClient:
		return upstream("oauth_client_refused", "The vendor refused the connector's OAuth client. Check its client id, its secret or key, and the grants that it is allowed.")
	case InvalidRequest:
		return upstream("oauth_request_refused", "The vendor refused the form of the request. Check the connector's oauth2 section and the registered redirect URI.")
	case InvalidScope:
		return upstream("invalid_scope", "The vendor refused the scopes or the resource that were asked for. Ask for those that the OAuth client is allowed.")
	case RateLimited:
		e := claviger.Errorf(claviger.KindRateLimited, "upstream_rate_limited", "The vendor limits how often tokens may be asked for. Try again later.")
		e.RetryAfter = c.After
		return e
	case Unavailable:
		e := claviger.Errorf(claviger.KindUpstream, "upstream_unavailable", "The vendor's authorization server does not work at the moment. Try again later.")
		e.RetryAfter = c.After
		return e
	case Unintelligible:
		return errBadResponse()
	case Pending, SlowDown:
		return claviger.Errorf(claviger.KindConflict, string(Pending), "Nobody has allowed the connection at the vendor yet.")
	default:
		if c.Status == 0 { // the browser brought the vendor's no
			return upstream("oauth_refused", "The vendor refused, for a reason that is not understood here. Start again, or ask who set the connection up.")
		}
		return upstream("oauth_refused", "The vendor refused the request without a reason that is understood here (status "+strconv.Itoa(c.Status)+").")
	}
}

func errBadResponse() *claviger.Error {
	return claviger.Errorf(claviger.KindUpstream, string(Unintelligible), "The vendor's answer is not one that OAuth knows. Check the connector's token response paths.")
}

func errBadValue() *claviger.Error {
	return claviger.Errorf(claviger.KindUpstream, "bad_token_value", "The vendor's answer holds a token that cannot be used: it is of a wrong type, too long, or has characters that no token may have.")
}
