package oauth

import (
	"net/url"
	"sync"

	"claviger"
)

// maxNonces bounds the servers whose nonce is remembered; beyond it all are forgotten,
// which costs one refused request each.
const maxNonces = 10_000

// Nonces remembers the nonce that each server gave last for proofs (RFC 9449, sections 8
// and 9), so that not every request has to be refused first. It may be used by many
// goroutines; a nil one remembers nothing.
type Nonces struct {
	mu sync.Mutex
	of map[string]string
}

// NewNonces answers an empty memory.
func NewNonces() *Nonces { return &Nonces{of: map[string]string{}} }

// Get answers the last nonce of a server for a partition ([Config.Partition]), "" if it
// is not known. The server is that of the address.
func (n *Nonces) Get(partition string, address *url.URL) string {
	if n == nil || address == nil {
		return ""
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.of[partition+" "+claviger.Origin(address)]
}

// Put remembers what a server's DPoP-Nonce header said. What is no nonce is not
// remembered.
func (n *Nonces) Put(partition string, address *url.URL, nonce string) {
	if n == nil || address == nil || !printable(nonce, maxNonce) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.of) >= maxNonces {
		clear(n.of)
	}
	n.of[partition+" "+claviger.Origin(address)] = nonce
}
