package claviger_test

import (
	"bytes"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	texttemplate "text/template"

	"claviger"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// canary is the value that must never come out. It has no character that an
// encoder escapes, so that a search for it and its encodings is complete.
const canary = "CanaryValue7391"

// Containers of a secret as careless code has them: exported and unexported fields,
// pointers, interfaces, maps, slices, arrays and wrapped errors.
type (
	exportedHolder   struct{ Value claviger.Secret }
	unexportedHolder struct{ value claviger.Secret }
	deepHolder       struct {
		inner  *unexportedHolder
		Outer  *exportedHolder
		list   []claviger.Secret
		Array  [1]claviger.Secret
		byName map[string]claviger.Secret
		any    any
	}
	failure struct{ cause claviger.Secret }
)

func (f *failure) Error() string { return "could not use " + f.cause.String() }

func secretHolders() map[string]any {
	s := claviger.NewSecretString(canary)
	deep := deepHolder{
		inner: &unexportedHolder{s}, Outer: &exportedHolder{s}, list: []claviger.Secret{s},
		Array: [1]claviger.Secret{s}, byName: map[string]claviger.Secret{"k": s}, any: s,
	}
	return map[string]any{
		"value": s, "pointer": &s, "exported field": exportedHolder{s}, "unexported field": unexportedHolder{s},
		"pointer to unexported": &unexportedHolder{s}, "deep": deep, "pointer to deep": &deep,
		"slice": []claviger.Secret{s}, "slice of any": []any{s, &s}, "map": map[string]claviger.Secret{"k": s},
		"map of any": map[any]any{"k": &s}, "credentials": claviger.Credentials{"apiKey": s},
		"error": &failure{s}, "wrapped error": fmt.Errorf("outer: %w", &failure{s}),
		"claviger error": (&claviger.Error{Kind: claviger.KindInternal, Message: "no"}).With(&failure{s}),
		"struct of any":  struct{ V any }{unexportedHolder{s}}, "array": [2]claviger.Secret{s, s},
	}
}

// leak answers the form in which text holds the canary, or "".
func leak(text string) string {
	forms := map[string]string{
		"raw": canary, "hex": hex.EncodeToString([]byte(canary)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(canary))),
		"decimal bytes": strings.Trim(fmt.Sprint([]byte(canary)), "[]"), "base64": "Q2FuYXJ5VmFsdWU3Mzkx",
		"spaced hex": fmt.Sprintf("% x", canary), "go syntax": strings.Trim(fmt.Sprintf("%#v", []byte(canary)), "[]byte{}"),
	}
	for name, form := range forms {
		if strings.Contains(text, form) {
			return name
		}
	}
	return ""
}

func TestAbuse_172_NoVerbPrintsASecret(t *testing.T) {
	verbs := "vTtbcdoOqxXUeEfFgGspwh"
	for c := 'A'; c <= 'z'; c++ {
		if c <= 'Z' || c >= 'a' {
			verbs += string(c)
		}
	}
	flags := []string{"", "+", "-", "#", " ", "0", "+#", "# ", "-10.3", "64.64", "+v%"}
	for name, holder := range secretHolders() {
		t.Run(name, func(t *testing.T) {
			for _, verb := range verbs {
				for _, flag := range flags {
					format := "%" + flag + string(verb)
					if form := leak(fmt.Sprintf(format, holder)); form != "" {
						t.Errorf("%s shows the secret (%s)", format, form)
					}
				}
			}
			for _, text := range []string{fmt.Sprint(holder), fmt.Sprintln(holder), fmt.Errorf("x: %v", holder).Error()} {
				if form := leak(text); form != "" {
					t.Errorf("%q shows the secret (%s)", text, form)
				}
			}
		})
	}
	if leak(fmt.Sprintf("%d", []byte(canary))) == "" || leak(fmt.Sprintf("%x", canary)) == "" || leak(fmt.Sprintf("%#v", []byte(canary))) == "" {
		t.Error("the search for leaks finds no leak where there is one")
	}
}

func TestSecretTextIsRedacted(t *testing.T) {
	s := claviger.NewSecretString(canary)
	for _, format := range []string{"%v", "%s", "%q", "%d", "%x", "%+v", "%#v", "%T|%v"} {
		if got := fmt.Sprintf(format, s); !strings.Contains(got, claviger.Redacted) && !strings.HasPrefix(format, "%T") {
			t.Errorf("%s: got %q, want %s", format, got, claviger.Redacted)
		}
	}
	if s.String() != claviger.Redacted || s.GoString() != claviger.Redacted {
		t.Error("String and GoString must answer the redaction mark")
	}
}

func TestAbuse_173_NoEncoderWritesASecret(t *testing.T) {
	encoders := map[string]func(any) (string, error){
		"json": func(v any) (string, error) { b, err := json.Marshal(v); return string(b), err },
		"json indent": func(v any) (string, error) {
			b, err := json.MarshalIndent(v, "", " ")
			return string(b), err
		},
		"xml": func(v any) (string, error) { b, err := xml.Marshal(v); return string(b), err },
		"gob": func(v any) (string, error) {
			var b bytes.Buffer
			err := gob.NewEncoder(&b).Encode(v)
			return b.String(), err
		},
		"yaml": func(v any) (string, error) { b, err := yaml.Marshal(v); return string(b), err },
	}
	s := claviger.NewSecretString(canary)
	response := struct {
		XMLName xml.Name `xml:"connection" json:"-"`
		ID      string
		APIKey  claviger.Secret
	}{ID: "conn_1", APIKey: s}
	for name, encode := range encoders {
		t.Run(name, func(t *testing.T) {
			for what, v := range map[string]any{"value": s, "pointer": &s, "response": response, "pointer to response": &response, "exported": exportedHolder{s}} {
				out, err := encode(v)
				if err == nil {
					t.Errorf("%s: encoded as %q; want an error, so that a leak is a failing test", what, out)
				} else if !errors.Is(err, claviger.ErrSecretMarshal) && !strings.Contains(err.Error(), claviger.ErrSecretMarshal.Error()) {
					t.Errorf("%s: got %v, want %v", what, err, claviger.ErrSecretMarshal)
				}
				if form := leak(out); form != "" {
					t.Errorf("%s: the output holds the secret (%s)", what, form)
				}
			}
			for what, v := range secretHolders() {
				if out, _ := encode(v); leak(out) != "" {
					t.Errorf("%s: the output holds the secret (%s)", what, leak(out))
				}
			}
		})
	}
	t.Run("text and binary", func(t *testing.T) {
		if _, err := s.MarshalText(); !errors.Is(err, claviger.ErrSecretMarshal) {
			t.Errorf("MarshalText: %v", err)
		}
		if _, err := s.MarshalBinary(); !errors.Is(err, claviger.ErrSecretMarshal) {
			t.Errorf("MarshalBinary: %v", err)
		}
	})
}

func TestAbuse_173_NoTemplateLogOrWalkShowsASecret(t *testing.T) {
	sinks := map[string]func(io.Writer, any){
		"text/template": func(w io.Writer, v any) {
			_ = texttemplate.Must(texttemplate.New("").Parse(`{{.}} {{printf "%s %d %x" . . .}} {{print .}} {{html .}} {{js .}}`)).Execute(w, v)
		},
		"html/template": func(w io.Writer, v any) {
			_ = htmltemplate.Must(htmltemplate.New("").Parse(`<p title="{{.}}">{{.}}</p><a href="/?q={{.}}">x</a>`)).Execute(w, v)
		},
		"html/template script": func(w io.Writer, v any) {
			_ = htmltemplate.Must(htmltemplate.New("").Parse(`<script>let x = {{.}}</script>`)).Execute(w, v)
		},
		"slog text": func(w io.Writer, v any) { slog.New(slog.NewTextHandler(w, nil)).Info("m", "v", v, slog.Any("w", v)) },
		"slog json": func(w io.Writer, v any) { slog.New(slog.NewJSONHandler(w, nil)).Info("m", "v", v, slog.Any("w", v)) },
		"go-cmp": func(w io.Writer, v any) {
			all := cmp.Exporter(func(reflect.Type) bool { return true })
			_, _ = io.WriteString(w, cmp.Diff(v, nil, all)+cmp.Diff(any(exportedHolder{}), v, all))
		},
		"reflect walk": func(w io.Writer, v any) { walk(w, reflect.ValueOf(v), 0) },
	}
	for name, sink := range sinks {
		t.Run(name, func(t *testing.T) {
			for what, v := range secretHolders() {
				var out bytes.Buffer
				sink(&out, v)
				if out.Len() == 0 {
					t.Errorf("%s: nothing was written, so nothing is proven", what)
				}
				if form := leak(out.String()); form != "" {
					t.Errorf("%s: the output holds the secret (%s)", what, form)
				}
			}
		})
	}
	var out bytes.Buffer
	walk(&out, reflect.ValueOf(struct{ b []byte }{[]byte(canary)}), 0)
	if leak(out.String()) == "" {
		t.Error("the walk does not find bytes in an unexported field, so it proves nothing")
	}
}

// walk writes every string, number and byte that reflection reaches from v, through
// unexported fields too, as deep-printing libraries do.
func walk(w io.Writer, v reflect.Value, depth int) {
	if !v.IsValid() || depth > 12 {
		return
	}
	_, _ = fmt.Fprintf(w, " %s", v.Kind())
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		walk(w, v.Elem(), depth+1)
	case reflect.Struct:
		for i := range v.NumField() {
			walk(w, v.Field(i), depth+1)
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 && v.Kind() == reflect.Slice {
			_, _ = w.Write(v.Bytes())
			return
		}
		for i := range v.Len() {
			walk(w, v.Index(i), depth+1)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			walk(w, it.Key(), depth+1)
			walk(w, it.Value(), depth+1)
		}
	case reflect.String:
		_, _ = io.WriteString(w, v.String())
	}
}

func TestSecretUse(t *testing.T) {
	own := []byte(canary)
	s := claviger.NewSecret(own)
	clear(own)
	var got string
	s.Use(func(b []byte) { got = string(b) })
	if got != canary {
		t.Errorf("Use gave %q; a secret keeps its own copy", got)
	}
	if s.Empty() || !(claviger.Secret{}).Empty() || !claviger.NewSecret(nil).Empty() || !claviger.NewSecretString("").Empty() {
		t.Error("Empty must be true for no value alone")
	}
	called := false
	claviger.Secret{}.Use(func(b []byte) { called = true; got = string(b) })
	if !called || got != "" {
		t.Error("Use of the zero secret must call with no bytes")
	}
}

func TestIsMask(t *testing.T) {
	for text, want := range map[string]bool{
		"***REDACTED***": true, "Bearer ***REDACTED***": true, "***": true, "•": true, " ●●●● ": true, "[Redacted]": true, "*masked*": true,
		"": false, "*": false, "**": false, "[]": false, "( )": false, "a***": false, "redactedly": false, "p•ss": false, "secret": false, "pk_***_1": false,
	} {
		if got := claviger.IsMask(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
