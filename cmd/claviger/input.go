package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"claviger"
)

const maxInput = 1 << 20

// readAll reads standard input up to a cap.
func (p *program) readAll() ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(p.stdin, maxInput+1))
	if err != nil {
		return nil, fmt.Errorf("read standard input: %w", err)
	}
	if len(b) > maxInput {
		return nil, usagef("Standard input is larger than 1 MiB.")
	}
	return b, nil
}

// terminal answers standard input if a person sits before it.
func (p *program) terminal() (*os.File, bool) {
	f, ok := p.stdin.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// readSecret reads one secret: from standard input if stdin, else from a prompt
// without echo. flag names the way to use standard input, for the message.
func (p *program) readSecret(stdin bool, flag, label string) (claviger.Secret, error) {
	var value []byte
	var err error
	if stdin {
		value, err = p.readAll()
		value = bytes.TrimRight(value, "\r\n")
	} else {
		value, err = p.prompt(label, flag, true)
	}
	if err != nil {
		return claviger.Secret{}, err
	}
	if len(value) == 0 {
		return claviger.Secret{}, usagef("No value was given.")
	}
	return claviger.NewSecret(value), nil
}

// prompt asks a person for one line; what is secret is not echoed. Without a
// terminal it is an error that names the flag to use instead.
func (p *program) prompt(label, flag string, secret bool) ([]byte, error) {
	f, ok := p.terminal()
	if !ok {
		return nil, usageError{message: "There is no terminal to ask on.", hint: "Give the value on standard input with " + flag + "."}
	}
	_, _ = fmt.Fprintf(p.stderr, "%s: ", escape(label))
	if secret {
		b, err := term.ReadPassword(int(f.Fd()))
		_, _ = fmt.Fprintln(p.stderr)
		return b, err
	}
	line, err := bufio.NewReader(io.LimitReader(oneByte{f}, maxInput)).ReadBytes('\n')
	if errors.Is(err, io.EOF) && len(line) > 0 {
		err = nil
	}
	return bytes.TrimRight(line, "\r\n"), err
}

// oneByte reads a terminal byte by byte, so that a buffer does not swallow the
// line of the next prompt.
type oneByte struct{ r io.Reader }

// Read implements io.Reader.
func (o oneByte) Read(b []byte) (int, error) {
	if len(b) > 1 {
		b = b[:1]
	}
	return o.r.Read(b)
}

// readCredentials reads a JSON object of strings, null among them if allowed. No
// error quotes the input.
func (p *program) readCredentials(allowNull bool) (map[string]*string, error) {
	text, err := p.readAll()
	if err != nil {
		return nil, err
	}
	bad := usageError{message: "Standard input must be one JSON object of strings.", hint: `For example: {"apiKey": "..."}`}
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, bad
	}
	out := map[string]*string{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, bad
		}
		value, err := d.Token()
		if err != nil {
			return nil, bad
		}
		k := key.(string) // a JSON object's key is one, or Token had failed
		if _, twice := out[k]; twice {
			return nil, usagef("Standard input gives %q twice.", k)
		}
		switch v := value.(type) {
		case string:
			out[k] = &v
		case nil:
			if !allowNull {
				return nil, usagef("The value of %q is null.", k)
			}
			out[k] = nil
		default:
			return nil, bad
		}
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return nil, bad
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, bad
	}
	return out, nil
}

// references reads "key=kv://path" arguments. A value of any other kind is refused,
// and not repeated: it may be a secret on its way into the shell's history.
func references(args []string) (map[string]*string, error) {
	out := map[string]*string{}
	for _, a := range args {
		key, value, ok := strings.Cut(a, "=")
		if !ok || key == "" || !strings.HasPrefix(value, "kv://") || len(value) == len("kv://") {
			return nil, usageError{
				message: "--credential takes key=kv://path only. A secret in an argument shows in the process list and the shell's history.",
				hint:    "Give secrets with --credentials-stdin or at the prompt.",
			}
		}
		out[key] = &value
	}
	return out, nil
}

// pairs reads "key=value" arguments of a flag.
func pairs(flag string, args []string) (map[string]string, error) {
	if len(args) == 0 {
		return nil, nil
	}
	out := map[string]string{}
	for _, a := range args {
		key, value, ok := strings.Cut(a, "=")
		if !ok || key == "" {
			return nil, usagef("--%s takes key=value.", flag)
		}
		out[key] = value
	}
	return out, nil
}
