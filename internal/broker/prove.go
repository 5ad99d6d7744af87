package broker

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"slices"
	"strings"

	"claviger"
	"claviger/internal/inject"
	"claviger/internal/vault"
)

// send sends a request that has its credential. Where the access token is bound to a key,
// each request proves that key, with the nonce that the vendor gave last. A vendor that
// wants another nonce has looked at nothing else (RFC 9449, section 9), so that a request
// whose body is still there goes once more.
func (b *Broker) send(ctx context.Context, l *live, req *http.Request, creds claviger.Credentials) (*http.Response, error) {
	if l.method.Type == claviger.AuthMTLS {
		dest := l.dest
		var err error
		if dest.Certificate, err = clientCertificate(creds); err != nil {
			return nil, err
		}
		return b.egress.Do(ctx, dest, req)
	}
	if l.method.OAuth == nil || !l.method.OAuth.DPoP {
		return b.egress.Do(ctx, l.dest, req)
	}
	nonces := b.connecting.oauth.Nonces
	nonce := nonces.Get(l.dest.Key, req.URL)
	for again := true; ; again = false {
		proven, err := b.proof(req, creds, nonce)
		if err != nil {
			return nil, err
		}
		res, err := b.egress.Do(ctx, l.dest, proven)
		if err != nil {
			return nil, err
		}
		given := res.Header.Get("DPoP-Nonce")
		nonces.Put(l.dest.Key, req.URL, given)
		next, whole := rewound(req)
		if !again || !whole || given == "" || given == nonce || !wantsNonce(res) {
			return res, nil
		}
		_, _ = io.CopyN(io.Discard, res.Body, maxRefusal)
		_ = res.Body.Close()
		req, nonce = next, given
	}
}

// maxRefusal is how much of a refusal's body is read so that its connection can be used
// again.
const maxRefusal = 4 << 10

func (b *Broker) proof(req *http.Request, creds claviger.Credentials, nonce string) (*http.Request, error) {
	id, err := b.connecting.oauth.NewState()
	if err != nil {
		return nil, err
	}
	return inject.Prove(req, inject.Proof{Key: creds[vault.ProofKey], Access: creds[vault.AccessToken], Nonce: nonce, ID: id, At: b.now()})
}

// wantsNonce reports whether an answer refuses a proof for want of a nonce.
func wantsNonce(res *http.Response) bool {
	return res.StatusCode == http.StatusUnauthorized && slices.ContainsFunc(res.Header.Values("WWW-Authenticate"), func(challenge string) bool {
		return strings.Contains(challenge, "use_dpop_nonce")
	})
}

// rewound answers a request that was sent, with its body from the beginning, if there is
// a way.
func rewound(req *http.Request) (*http.Request, bool) {
	if req.Body == nil || req.Body == http.NoBody {
		return req, true
	}
	if req.GetBody == nil {
		return nil, false
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, false
	}
	again := req.WithContext(req.Context())
	again.Body = body
	return again, true
}

// clientCertificate answers what a connection of type mtls shows in the TLS handshake.
func clientCertificate(creds claviger.Credentials) (*tls.Certificate, error) {
	var pair tls.Certificate
	var err error
	creds["certificate"].Use(func(certificate []byte) {
		creds["privateKey"].Use(func(key []byte) { pair, err = tls.X509KeyPair(certificate, key) })
	})
	if err != nil {
		return nil, claviger.Invalid("credentials.certificate", "invalid_format", "The certificate and the private key do not form a pair. Give both as PEM, the certificate's chain leaf first, the key without a passphrase.")
	}
	return &pair, nil
}
