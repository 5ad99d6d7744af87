package wire_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"claviger/clavigertest/cputime"
	"claviger/internal/wire"
)

func TestAbuse_288_JSONBombs(t *testing.T) {
	s := start(t, nil)
	var keys strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&keys, `"k%d":1,`, i)
	}
	for name, body := range map[string]string{
		"depth":        strings.Repeat(`{"name":`, 10_000) + "1" + strings.Repeat("}", 10_000),
		"depth arrays": strings.Repeat("[", 33) + strings.Repeat("]", 33),
		"keys":         "{" + keys.String() + `"name":"a"}`,
		"exponent":     `{"name":"a","count":1e999}`,
		"long number":  `{"name":"a","count":` + strings.Repeat("1", 100) + "}",
	} {
		t.Run(name, func(t *testing.T) {
			a := s.do(t, "POST", "/v1/widgets", "good", body)
			if e := a.error(t); a.status != 400 || e.Code != "invalid_json" {
				t.Errorf("got %d %s", a.status, a.body)
			}
		})
	}
	t.Run("size", func(t *testing.T) {
		a := s.do(t, "POST", "/v1/widgets", "good", `{"name":"`+strings.Repeat("a", 10<<20)+`"}`)
		if a.status != 413 || a.error(t).Code != "too_large" {
			t.Errorf("got %d %s", a.status, a.body)
		}
	})
	t.Run("query", func(t *testing.T) {
		a := s.do(t, "GET", "/v1/widgets?"+strings.Repeat("a=1&", 2000), "good", "")
		if a.status != 400 || a.error(t).Code != "bad_query" {
			t.Errorf("got %d %s", a.status, a.body)
		}
	})
	t.Run("CPU", func(t *testing.T) {
		bomb := []byte(strings.Repeat("[", 1<<20))
		const bombs = 20
		took := cputime.Of(t, func() {
			for range bombs {
				if wire.CheckJSON(bomb) == nil {
					t.Fatal("accepted")
				}
			}
		})
		if took > bombs*10*time.Millisecond {
			t.Errorf("%v for one bomb", took/bombs)
		}
	})
	if s.calls != 0 {
		t.Errorf("the handler ran %d times", s.calls)
	}
}

func TestAbuse_308_OneReadingOnly(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		ok   bool
	}{
		"plain":                {`{"a":[1,-2.5e3,true,null,"x\u00e9\ud83d\ude00"]}`, true},
		"scalar":               {`"x"`, true},
		"spaces":               {" {} \n", true},
		"duplicate":            {`{"a":1,"a":2}`, false},
		"duplicate by escape":  {`{"a":1,"\u0061":2}`, false},
		"same key in siblings": {`[{"a":1},{"a":2}]`, true},
		"nested duplicate":     {`{"x":{"a":1,"a":2}}`, false},
		"trailing":             {`{} {}`, false},
		"trailing garbage":     {`{}x`, false},
		"trailing comma":       {`{"a":1,}`, false},
		"array comma":          {`[1,]`, false},
		"no colon":             {`{"a" 1}`, false},
		"half surrogate":       {`{"a":"\ud83d"}`, false},
		"low surrogate":        {`{"a":"\ude00"}`, false},
		"NUL":                  {`{"a\u0000":1}`, false},
		"escaped backslash":    {`{"a":"\\ud83d"}`, true},
		"invalid UTF-8":        {"{\"a\":\"\xff\"}", false},
		"byte order mark":      {"\ufeff{}", false},
		"NaN":                  {`{"a":NaN}`, false},
		"comment":              {`{/*x*/}`, false},
		"empty":                {``, false},
		"depth 32":             {strings.Repeat("[", 32) + strings.Repeat("]", 32), true},
	} {
		t.Run(name, func(t *testing.T) {
			if err := wire.CheckJSON([]byte(c.text)); (err == nil) != c.ok {
				t.Errorf("%s: %v", c.text, err)
			}
		})
	}
}

func FuzzCheckJSON(f *testing.F) {
	for _, s := range []string{`{"a":1}`, `[1,2,{"a":"\ud83d\ude00"}]`, `{"a":1,"a":2}`, `"\ud83d"`, `1e999`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if wire.CheckJSON(data) != nil {
			return
		}
		if !json.Valid(data) {
			t.Fatalf("accepted what is no JSON: %q", data)
		}
		var v any
		if err := json.Unmarshal(data, &v); err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := wire.CheckJSON(again); err != nil {
			t.Fatalf("%q is accepted, written again as %q it is not: %v", data, again, err)
		}
	})
}
