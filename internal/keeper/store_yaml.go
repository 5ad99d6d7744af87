package keeper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"

	"claviger"
)

const (
	maxYAML      = 1 << 20
	maxYAMLDepth = 10
	// settled is how old a file's time must be before equal time and size are taken
	// to mean equal content: clocks of file systems are coarse.
	settled = 2 * time.Second
)

// yamlStore keeps what it parsed only as long as the file's time and size stay.
type yamlStore struct {
	path string
	Options

	mu      sync.Mutex
	version string
	settled bool
	values  map[string]claviger.Secret
}

func openYAML(path string, o Options) (Store, error) {
	s := &yamlStore{path: path, Options: o}
	if err := s.reload(); err != nil {
		return nil, storeError("The YAML file of secrets cannot be used: %s.", yamlReason(err)).With(err)
	}
	return s, nil
}

// Get implements [Store].
func (s *yamlStore) Get(_ context.Context, org claviger.OrganizationID, path string) (claviger.Secret, string, error) {
	where, err := s.locate(org, path)
	if err != nil {
		return claviger.Secret{}, "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.reload(); err != nil {
		return claviger.Secret{}, "", unreadableSecret(path, err)
	}
	value, ok := s.values[where]
	if !ok {
		return claviger.Secret{}, "", missingSecret(path)
	}
	return value, s.version, nil
}

func (s *yamlStore) reload() error {
	info, err := os.Stat(s.path)
	if err != nil {
		s.values, s.version = nil, ""
		return err
	}
	if s.settled && version(info) == s.version {
		return nil
	}
	s.values, s.version = nil, ""
	if !info.Mode().IsRegular() {
		return errors.New("not a regular file")
	}
	f, err := os.Open(s.path)
	if err != nil {
		return err
	}
	defer f.Close()
	text, info, err := readCapped(f, maxYAML)
	defer clear(text)
	if err != nil {
		return err
	}
	values, err := parseYAML(text)
	if err != nil {
		return err
	}
	s.values, s.version = values, version(info)
	s.settled = s.Now().Sub(info.ModTime()) > settled
	return nil
}

// faultError is a fault of the document: a line and a reason, never its text.
type faultError struct {
	line   int
	reason string
}

// Error implements error.
func (e *faultError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.reason) }

// yamlReason answers what may be shown: the parser's own messages quote the file.
func yamlReason(err error) string {
	var fault *faultError
	if errors.As(err, &fault) {
		return fault.Error()
	}
	return "it cannot be read or is not YAML"
}

// parseYAML accepts mappings of mappings of scalars. Keys are segments or whole
// paths; a scalar is taken as it is written, so that 0123 stays "0123". Aliases,
// anchors, tags, merge keys, sequences, nulls and repeated paths are refused.
func parseYAML(text []byte) (map[string]claviger.Secret, error) {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return map[string]claviger.Secret{}, nil
		}
		return nil, &faultError{reason: "it is not YAML"} // err may quote a value
	}
	if err := dec.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		return nil, &faultError{reason: "it has more than one document"}
	}
	values := map[string]claviger.Secret{}
	return values, collect(values, "", doc.Content[0], 0)
}

func collect(values map[string]claviger.Secret, prefix string, n *yaml.Node, depth int) error {
	fault := func(reason string) error { return &faultError{line: n.Line, reason: reason} }
	switch {
	case n.Anchor != "" || n.Kind == yaml.AliasNode || n.Style&yaml.TaggedStyle != 0:
		return fault("anchors, aliases and tags are refused")
	case depth > maxYAMLDepth:
		return fault("nested too deep")
	case n.Kind == yaml.MappingNode:
		for i := 0; i < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.Kind != yaml.ScalarNode || key.Anchor != "" || key.Style&yaml.TaggedStyle != 0 || key.Tag == "!!merge" {
				return &faultError{line: key.Line, reason: "a key must be plain text"}
			}
			if err := collect(values, prefix+key.Value+"/", n.Content[i+1], depth+1); err != nil {
				return err
			}
		}
		return nil
	case n.Kind != yaml.ScalarNode || n.Tag == "!!null" || n.Value == "" || prefix == "":
		return fault("a value must be text that is not empty, below a path")
	case len(n.Value) > maxValue:
		return fault("a value has more than 64 KiB")
	}
	path := prefix[:len(prefix)-1]
	if !storedPath(path) {
		return fault("its keys do not form a path such as shared/acme/key")
	}
	if _, taken := values[path]; taken {
		return fault("its path is there twice")
	}
	values[path] = claviger.NewSecretString(n.Value)
	return nil
}

// storedPath reports whether path can ever be asked for: a secret's path, below an
// organization's folder or not.
func storedPath(path string) bool {
	if below, ok := strings.CutPrefix(path, tenantsFolder+"/"); ok {
		org, rest, _ := strings.Cut(below, "/")
		if !claviger.ValidID(claviger.PrefixOrganization, org) {
			return false
		}
		path = rest
	}
	_, err := claviger.ParseSecretPath(claviger.SecretScheme + path)
	return err == nil
}
