package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"claviger"
)

// entry is a connector that may not be parsed yet.
type entry struct {
	head claviger.Connector // Key, Name, Kind and Categories; the rest is empty

	once sync.Once
	read func() (*claviger.Connector, error) // nil if conn is there from the start
	conn *claviger.Connector
	err  error
}

// connector answers the parsed connector, and parses it the first time.
func (e *entry) connector() (*claviger.Connector, error) {
	e.once.Do(func() {
		if e.read != nil {
			e.conn, e.err = e.read()
			e.read = nil
		}
	})
	return e.conn, e.err
}

// newEntry reads the head of a built-in document. A document whose head is not
// written in the plain way of these files is parsed at once.
func newEntry(fsys fs.FS, name string, opts Options) (*entry, error) {
	e := &entry{}
	e.read = func() (*claviger.Connector, error) {
		data, _, err := readFile(fsys, name)
		if err != nil {
			return nil, err
		}
		conn, faults := Parse(name, data, opts)
		if len(faults) > 0 {
			return nil, fmt.Errorf("catalog: %s:%s", name, faults[0])
		}
		return conn, nil
	}
	if ext := path.Ext(name); ext == ".yaml" || ext == ".yml" {
		start, err := readStart(fsys, name)
		if err != nil {
			return nil, err
		}
		var ok bool
		if e.head, ok = readHead(start); ok {
			return e, nil
		}
	}
	conn, err := e.connector()
	if err != nil {
		return nil, err
	}
	e.head = *conn
	return e, nil
}

// headBytes is where a head must end.
const headBytes = 4 << 10

func readStart(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	start := make([]byte, headBytes)
	n, err := io.ReadFull(f, start)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return start[:n], nil
}

// plainName is a name that means itself in YAML without quotation marks.
var plainName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9 .()&/-]*$`)

// readHead reads the four keys by which connectors are looked up, each on a line of
// its own. It understands the form that the built-in files have and no other.
func readHead(start []byte) (head claviger.Connector, ok bool) {
	for line := range bytes.Lines(start) {
		key, value, found := strings.Cut(strings.TrimRight(string(line), "\r\n"), ": ")
		if !found {
			continue
		}
		switch key {
		case "key":
			head.Key = value
		case "name":
			head.Name = value
		case "kind":
			head.Kind = value
		case "categories":
			list, bracket := strings.CutPrefix(value, "[")
			list, end := strings.CutSuffix(list, "]")
			if !bracket || !end {
				return head, false
			}
			head.Categories = strings.Split(list, ", ")
		}
		if head.Key != "" && head.Name != "" && head.Kind != "" && head.Categories != nil {
			plain := !slices.ContainsFunc(append([]string{head.Key, head.Kind}, head.Categories...), func(s string) bool { return !keyPattern.MatchString(s) })
			return head, plain && plainName.MatchString(head.Name)
		}
	}
	return head, false
}
