// Command upstream is the vendor that the benchmarks call: an HTTP/1.1 server that
// does as little as it can, so that its cost does not blur the proxies'.
//
// It reads request heads without looking at anything but the end of the path, and
// ignores bodies, so it serves GET alone:
//
//	.../small   1 KiB of JSON
//	.../large   100 KiB of JSON
//	.../stream  the header of an event stream and one event, then silence
//
// It listens on loopback and trusts its peers: it is no server for anything else.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"strings"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "where to listen")
	flag.Parse()
	l, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	small, large := answer(1<<10), answer(100<<10)
	for {
		conn, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer conn.Close() //nolint:errcheck // the peer has gone or is told so
			if err := serve(conn, small, large); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				return // a peer that hung up; nothing can be said to it
			}
		}()
	}
}

// answer makes a whole response with a JSON body of size bytes.
func answer(size int) []byte {
	var body bytes.Buffer
	body.WriteString(`{"orders":[`)
	for i := 0; body.Len() < size-64; i++ {
		fmt.Fprintf(&body, `{"id":"ord_%06d","item":"brass key"},`, i)
	}
	body.WriteString(`{"id":"last","item":"`)
	body.WriteString(strings.Repeat("x", size-body.Len()-len(`"}]}`)))
	body.WriteString(`"}]}`)
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", body.Len(), body.Bytes())
}

const stream = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\nd\r\ndata: hello\n\n\r\n"

// serve answers one connection's requests until it ends.
func serve(conn net.Conn, small, large []byte) error {
	in := bufio.NewReaderSize(conn, 4<<10)
	for {
		path, err := readHead(in)
		if err != nil {
			return err
		}
		text := small
		switch {
		case bytes.HasSuffix(path, []byte("/large")):
			text = large
		case bytes.HasSuffix(path, []byte("/stream")):
			if _, err := io.WriteString(conn, stream); err != nil {
				return err
			}
			_, err := in.ReadByte() // silence until the peer goes
			return err
		}
		if _, err := conn.Write(text); err != nil {
			return err
		}
	}
}

// readHead reads a request's head and answers its path.
func readHead(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	_, target, _ := bytes.Cut(line, []byte(" "))
	target, _, _ = bytes.Cut(target, []byte(" "))
	path := append([]byte(nil), target...)
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		if len(line) <= 2 {
			return path, nil
		}
	}
}
