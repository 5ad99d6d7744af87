package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"

	"claviger"
)

// errNotAllowed is the one answer for every refusal of the policy. It names
// neither address nor reason, so that it cannot be used to map a network.
func errNotAllowed() *claviger.Error {
	return claviger.Errorf(claviger.KindDenied, "destination_not_allowed", "The destination is not allowed for this connection.")
}

func errUnreachable(cause error) *claviger.Error {
	return claviger.Errorf(claviger.KindUpstream, "unreachable", "The vendor could not be reached, or broke the connection. Try again later.").With(cause)
}

func errHeader() *claviger.Error {
	return claviger.Errorf(claviger.KindUnreadable, "invalid_header", "A header's name or value has characters that HTTP does not allow.")
}

func errTLS(cause error) *claviger.Error {
	return claviger.Errorf(claviger.KindUpstream, "upstream_tls", "The vendor's TLS certificate or version is not acceptable.").With(cause)
}

func errTimeout(cause error) *claviger.Error {
	return claviger.Errorf(claviger.KindTimeout, "upstream_timeout", "The vendor did not answer in time. Try again later.").With(cause)
}

func errInvalidResponse(cause error) *claviger.Error {
	return claviger.Errorf(claviger.KindUpstream, "invalid_response", "The vendor's answer is not valid HTTP.").With(cause)
}

func errTooLarge(cause error) *claviger.Error {
	return claviger.Errorf(claviger.KindUpstream, "response_too_large", "The vendor's answer is larger than allowed.").With(cause)
}

func errCanceled(cause error) *claviger.Error {
	return claviger.Errorf(claviger.KindUnavailable, "canceled", "The call was given up before the vendor answered.").With(cause)
}

// tlsFailure marks an error of the handshake.
type tlsFailure struct{ err error }

// Error implements error.
func (f *tlsFailure) Error() string { return f.err.Error() }

// Unwrap answers the cause, for errors.Is and errors.As.
func (f *tlsFailure) Unwrap() error { return f.err }

// transportError turns whatever the transport says into one of the errors above.
// The transport's own text, which may quote the vendor, stays in Err.
func transportError(err error) error {
	var known *claviger.Error
	var timeout net.Error
	var handshake *tlsFailure
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, context.Canceled):
		return errCanceled(err)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return errTimeout(err)
	case errors.As(err, &handshake), isTLS(err):
		return errTLS(err)
	}
	text := err.Error()
	switch {
	case errors.Is(err, errHeaderBudget):
		return errTooLarge(err)
	case strings.Contains(text, "response headers exceeded"), strings.Contains(text, "response header list larger"):
		return errTooLarge(err)
	case strings.Contains(text, "malformed"), strings.Contains(text, "Content-Length"), strings.Contains(text, "transfer encoding"),
		strings.Contains(text, "too many transfer"), strings.Contains(text, "1xx responses"):
		return errInvalidResponse(err)
	}
	return errUnreachable(err)
}

func isTLS(err error) bool {
	var (
		verification *tls.CertificateVerificationError
		record       tls.RecordHeaderError
		alert        tls.AlertError
		authority    x509.UnknownAuthorityError
	)
	return errors.As(err, &verification) || errors.As(err, &record) || errors.As(err, &alert) || errors.As(err, &authority)
}
