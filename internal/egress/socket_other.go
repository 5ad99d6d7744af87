//go:build !unix

package egress

import "net"

// socketQuiet is false where it cannot be asked: connections are then not kept.
func socketQuiet(net.Conn) bool { return false }
