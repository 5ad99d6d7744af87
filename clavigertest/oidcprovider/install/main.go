// Command install puts the authorization server that tests talk to into the user's
// cache, so that no test waits for it.
package main

import (
	"context"
	"fmt"
	"os"

	"claviger/clavigertest/oidcprovider"
)

func main() {
	if _, err := oidcprovider.Install(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
