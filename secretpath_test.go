package claviger

import (
	"strings"
	"testing"
)

func TestAbuse_268_SecretPathGrammar(t *testing.T) {
	for _, ref := range []string{
		"", "kv:", "kv://", "kv:///", "kv://a", "kv://a/", "kv:///a/b", "kv://a//b", "kv://a/b/", "kv://../x", "kv://a/../b",
		"kv://a/./b", "kv://a/..", "kv://a/b..c", "kv://a/.hidden", "kv://a/-b", "kv://a/_b", "kv://%2e%2e/x", "kv://a/b%2fc",
		"kv://a/b?c", "kv://a/b#c", "kv://a/*", "kv://a/b c", "kv://a/b\x00", "kv://a\\b/c", "kv://a/b:c", "kv://a@b/c",
		"KV://a/b", " kv://a/b", "kv://a/b\n", "kv://ä/b", "https://a/b", "a/b", "kv://a/" + strings.Repeat("b", 256),
		"kv://1/2/3/4/5/6/7/8/9",
	} {
		t.Run(ref, func(t *testing.T) {
			path, err := ParseSecretPath(ref)
			if !IsKind(err, KindInvalid) || path != "" {
				t.Fatalf("ParseSecretPath = %q, %v; want an invalid error", path, err)
			}
		})
	}
}

func TestParseSecretPath(t *testing.T) {
	for _, want := range []string{"shared/key", "acme/Api.Key_1-x", "1/2/3/4/5/6/7/8", "a/" + strings.Repeat("b", 254)} {
		if got, err := ParseSecretPath("kv://" + want); err != nil || got != want {
			t.Errorf("ParseSecretPath(%q) = %q, %v", want, got, err)
		}
	}
}

func TestParseSecretPathDoesNotRepeatItsInput(t *testing.T) {
	if _, err := ParseSecretPath("sk_live_123456"); err == nil || strings.Contains(err.Error(), "sk_live") {
		t.Fatalf("error %v repeats what may be a secret", err)
	}
}

func FuzzParseSecretPath(f *testing.F) {
	for _, s := range []string{"kv://a/b", "kv://a/../b", "kv://a/b%2f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, ref string) {
		path, err := ParseSecretPath(ref)
		if err != nil {
			return
		}
		if again, err := ParseSecretPath(SecretScheme + path); err != nil || again != path || SecretScheme+path != ref {
			t.Fatalf("%q: accepted path %q does not re-read as itself", ref, path)
		}
		for segment := range strings.SplitSeq(path, "/") {
			if segment == "" || segment == "." || segment == ".." {
				t.Fatalf("%q: segment %q", ref, segment)
			}
		}
	})
}
