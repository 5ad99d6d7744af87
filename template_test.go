package claviger_test

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
	"testing"

	"claviger"
)

func lookupIn(values map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := values[name]; return v, ok }
}

func TestTemplateRender(t *testing.T) {
	values := map[string]string{"apiKey": "k&y=1", "Name": "Ünï", "input.limit": "10", "a-b_c": "x", "empty": ""}
	for _, c := range []struct{ template, want string }{
		{"", ""},
		{"plain", "plain"},
		{"${apiKey}", "k&y=1"},
		{"Bearer ${apiKey}", "Bearer k&y=1"},
		{"${apiKey}${apiKey}", "k&y=1k&y=1"},
		{"Basic ${base64(apiKey)}", "Basic " + base64.StdEncoding.EncodeToString([]byte("k&y=1"))},
		{"${urlencode(apiKey)}", url.QueryEscape("k&y=1")},
		{"${lower(Name)}!", "ünï!"},
		{"/x/${input.limit}", "/x/10"},
		{"${a-b_c}|${empty}|", "x||"},
		{"query($id: String!) { cost $1 }", "query($id: String!) { cost $1 }"},
		{"$${apiKey}}", "$k&y=1}"},
	} {
		parsed, err := claviger.ParseTemplate(c.template)
		if err != nil {
			t.Errorf("%q: %v", c.template, err)
			continue
		}
		for range 2 { // a template keeps no state between uses
			if got, err := parsed.Render(lookupIn(values), nil); err != nil || got != c.want {
				t.Errorf("%q: got %q, %v; want %q", c.template, got, err, c.want)
			}
		}
		if parsed.String() != c.template || parsed.Empty() != (c.template == "") {
			t.Errorf("%q: String answers %q, Empty %v", c.template, parsed.String(), parsed.Empty())
		}
	}
}

func TestTemplateEscape(t *testing.T) {
	parsed := claviger.MustTemplate("/a/${x}/${base64(x)}?")
	got, err := parsed.Render(lookupIn(map[string]string{"x": "?/.."}), url.PathEscape)
	if want := "/a/%3F%2F../" + url.PathEscape(base64.StdEncoding.EncodeToString([]byte("?/.."))) + "?"; err != nil || got != want {
		t.Errorf("got %q, %v; want %q: values are escaped after their function, text is not", got, err, want)
	}
	if _, err := parsed.Render(lookupIn(nil), nil); err == nil || !strings.Contains(err.Error(), "${x}") {
		t.Errorf("got %v; a missing value must be an error that names it", err)
	}
	if got, err := parsed.Append([]byte("https://h"), func(string) ([]byte, bool) { return []byte("v"), true }, nil); err != nil || string(got) != "https://h/a/v/dg==?" {
		t.Errorf("Append: got %q, %v", got, err)
	}
}

func TestTemplateNamesAndHole(t *testing.T) {
	if got := claviger.MustTemplate("${a}-${base64(b)}-${a}").Names(); !slices.Equal(got, []string{"a", "b", "a"}) {
		t.Errorf("Names = %v", got)
	}
	for text, want := range map[string]string{"${input.x}": "input.x", " ${x}": "", "${lower(x)}": "", "${x}${y}": "", "x": "", "": ""} {
		if name, ok := claviger.MustTemplate(text).Hole(); name != want || ok != (want != "") {
			t.Errorf("%q: Hole = %q, %v; want %q", text, name, ok, want)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("MustTemplate accepted an ill-formed template")
		}
	}()
	claviger.MustTemplate("${")
}

func TestAbuse_265_HostileTemplates(t *testing.T) {
	for _, text := range []string{
		"${", "${}", "${ }", "${a", "x${a", "${a b}", "${a+b}", "${a?b:c}", "${a[0]}", "${a,b}", "${'a'}", "${a|b}", "${a\n}",
		"${${a}}", "${base64(${a})}", "${lower(base64(a))}", "${base64()}", "${base64(a}", "${base64(a)x}", "${base64(a)(b)}",
		"${(a)}", "${exec(a)}", "${Base64(a)}", "${env.HOME()}", "${.a}", "${a.}", "${а}", "${a\x00}", "${__proto__['x']}", "${a;b}", "${a/../b}", "${%s}",
	} {
		if parsed, err := claviger.ParseTemplate(text); err == nil {
			t.Errorf("%q is accepted, with the names %v", text, parsed.Names())
		}
	}
	// Other languages' holes are text: nothing evaluates them, and neither is a value
	// that looks like a hole expanded again.
	inert := []string{"{{.Secret}}", "{{constructor}}", "<%= x %>", "%s%d", "$(id)", "`id`", "#{x}", "{a}", "$a", "$", "}", "{{", "\\${"[:1]}
	for _, text := range inert {
		parsed, err := claviger.ParseTemplate(text)
		if err != nil || len(parsed.Names()) != 0 {
			t.Errorf("%q: names %v, %v; want plain text", text, parsed.Names(), err)
			continue
		}
		if got, err := parsed.Render(lookupIn(nil), nil); err != nil || got != text {
			t.Errorf("%q rendered as %q, %v", text, got, err)
		}
	}
	for _, value := range append(inert, "${secret}", "${base64(secret)}") {
		got, err := claviger.MustTemplate("<${v}>").Render(lookupIn(map[string]string{"v": value, "secret": canary}), nil)
		if err != nil || got != "<"+value+">" {
			t.Errorf("the value %q rendered as %q, %v", value, got, err)
		}
	}
}

func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{"", "${a}", "a${lower(b)}c", "${a}${b}", "$", "${", "${base64(a)}}", "{{${a}}}", "${a.b-c_d}"} {
		f.Add(seed, "v")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		parsed, err := claviger.ParseTemplate(text)
		if err != nil {
			return
		}
		if parsed.String() != text {
			t.Fatalf("%q is written back as %q", text, parsed.String())
		}
		asked := []string{}
		got, err := parsed.Render(func(name string) (string, bool) { asked = append(asked, name); return value, true }, nil)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if names := parsed.Names(); len(names) != len(asked) || len(names) > 0 && !slices.Equal(names, asked) {
			t.Fatalf("%q asked for %v but names %v", text, asked, names)
		}
		if len(asked) == 0 && got != text {
			t.Fatalf("%q has no hole and renders as %q", text, got)
		}
	})
}
