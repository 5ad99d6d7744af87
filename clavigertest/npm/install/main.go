// Command install puts what tests run with Node.js into the user's cache, so that no
// test waits for it.
package main

import (
	"context"
	"fmt"
	"os"

	"claviger/clavigertest/browser"
	"claviger/clavigertest/conformance"
	"claviger/clavigertest/npm"
	"claviger/clavigertest/oidcprovider"
	"claviger/clavigertest/signers"
)

func main() {
	for _, set := range []npm.Set{
		browser.Set(),
		conformance.Set(),
		oidcprovider.Set(),
		signers.Set(),
	} {
		if _, err := set.Install(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
