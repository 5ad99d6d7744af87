package claviger_test

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"regexp"
	"slices"
	"strings"
)

// fault is a place in product code that breaks a rule.
type fault struct{ rule, at, text string }

// restriction keeps something of the standard library or of a module to a few rooms.
type restriction struct {
	rule   string
	what   []string // import paths (and what is below), or objects as "path.Name" and "path.(Type).Member"
	rooms  []string // who may use it; nil for nobody
	reason string
}

// The rules' names, as failures print them and fixtures expect them.
const (
	ruleSQL     = "sql"
	ruleDial    = "dial"
	ruleCipher  = "cipher"
	ruleWeak    = "weak cryptography"
	ruleTLS     = "tls"
	ruleScope   = "scope"
	ruleTesting = "testing"
	ruleUnsafe  = "unsafe"
	rulePrint   = "print"
	rulePanic   = "panic"
	ruleCompare = "compare"
)

// importRules restrict whole packages.
func importRules() []restriction {
	return []restriction{
		{ruleSQL, []string{"database/sql", "github.com/jackc/pgx"}, []string{internal + "store", internal + "jobs"}, "only the store speaks SQL; jobs hands the store's transactions to its engine, whose types these are"},
		{ruleSQL, []string{"modernc.org/sqlite", "github.com/pressly/goose"}, []string{internal + "store"}, "only the store opens databases"},
		{ruleSQL, []string{"github.com/riverqueue/river"}, []string{internal + "store", internal + "jobs"}, "one package runs jobs; the store only makes their tables"},
		{ruleCipher, []string{
			"crypto/aes", "crypto/cipher", "crypto/ecdh", "crypto/mlkem", "crypto/hkdf", "crypto/pbkdf2",
			"github.com/tink-crypto", "filippo.io/age",
		}, []string{internal + "seal"}, "only seal touches ciphers"},
		{ruleCipher, []string{"golang.org/x/crypto"}, []string{internal + "seal", internal + "authn"}, "only seal touches ciphers; authn hashes passwords"},
		{ruleCipher, []string{"crypto/ed25519", "crypto/ecdsa", "crypto/rsa", "crypto/elliptic", "github.com/go-jose/go-jose"}, []string{internal + "seal", internal + "authn", internal + "oauth", internal + "inject", internal + "hookverify", internal + "certify", internal + "rehearse"}, "only seal signs, authn its tokens, oauth the assertions and proofs that vendors demand, inject the proof on each call of a token that is bound to a key, hookverify only verifies, certify the certificates of systems, and rehearse the certificate of the vendors that it makes up"},
		{ruleCipher, []string{"crypto/hmac"}, []string{internal + "seal", internal + "inject", internal + "hookverify", internal + "authn", internal + "wire", internal + "gate", internal + "events"}, "keyed hashes stand where they are needed: the ledger's chain, vendors' signatures, tokens, cursors and events"},
		{ruleWeak, []string{"crypto/md5", "crypto/des", "crypto/rc4", "crypto/dsa", "golang.org/x/crypto/md4"}, nil, "broken algorithms are not used, for anything"},
		{ruleWeak, []string{"crypto/sha1"}, []string{internal + "hookverify", internal + "authn"}, "a broken hash is used only where a vendor signs its webhooks with it, and in the codes of authenticator apps, which know no other"},
		{ruleWeak, []string{"math/rand"}, nil, "predictable randomness ends up in a token sooner or later; use crypto/rand"},
		{ruleTesting, []string{"testing", "net/http/httptest"}, nil, "product code carries no test code"},
		{ruleUnsafe, []string{"unsafe", "plugin"}, nil, "memory safety is what keeps a secret in its closure"},
	}
}

// objectRules restrict functions, types and fields.
func objectRules() []restriction {
	return []restriction{
		{ruleDial, []string{
			"net.Dialer", "net.Dial", "net.DialTimeout", "net.DialTCP", "net.DialUDP", "net.DialIP", "net.DialUnix",
			"net.DefaultResolver", "net.LookupHost", "net.LookupIP", "net.LookupAddr", "net.LookupCNAME",
			"crypto/tls.Dial", "crypto/tls.DialWithDialer", "crypto/tls.Dialer",
		}, []string{internal + "egress"}, "only egress dials out: a second way out is a way round the guard"},
		{ruleDial, []string{"net.Resolver"}, []string{internal + "egress", internal + "app"}, "only egress resolves names, with the resolver that app hands it"},
		{ruleDial, []string{"net/http.Transport", "net/http.Client"}, []string{internal + "egress", module + "/client", module + "/cmd/claviger"}, "only egress makes transports; the client and the command line talk to claviger's own server"},
		{ruleDial, []string{
			"net/http.DefaultClient", "net/http.DefaultTransport", "net/http.Get", "net/http.Head", "net/http.Post", "net/http.PostForm",
		}, nil, "the default client follows redirects with the body, waits for ever and reads proxies from the environment"},
		{rulePrint, []string{
			"net/http/httputil.DumpRequest", "net/http/httputil.DumpRequestOut", "net/http/httputil.DumpResponse", "net/http/httputil.NewClientConn",
		}, nil, "a dump holds the credential"},
		{ruleTLS, []string{"crypto/tls.InsecureSkipVerify", "crypto/tls.KeyLogWriter"}, nil, "certificates are always verified and session keys never written"},
		{ruleWeak, []string{"crypto/cipher.NewGCMWithNonceSize", "crypto/cipher.NewCBCEncrypter", "crypto/cipher.NewCBCDecrypter", "crypto/cipher.NewCTR", "crypto/cipher.NewOFB"}, nil, "no mode without authentication, no nonce of our own making"},
		{ruleScope, []string{module + ".Authenticated"}, []string{internal + "authn"}, "only authentication makes a scope, so that no other code can widen its own reach"},
		{ruleScope, []string{internal + "authn.System"}, []string{internal + "app"}, "claviger's own caller reaches every tenant's connections: app hands it to the vault, and nobody else makes it"},
	}
}

// inspect answers the faults of one package's product code.
func inspect(s *source) []fault {
	var out []fault
	report := func(rule string, pos token.Pos, format string, args ...any) {
		out = append(out, fault{rule, s.at(pos), fmt.Sprintf(format, args...)})
	}
	for _, file := range s.files {
		for _, spec := range file.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			for _, r := range importRules() {
				if withinAny(path, r.what) && !withinAny(s.ImportPath, r.rooms) {
					report(r.rule, spec.Pos(), "imports %s: %s", path, r.reason)
				}
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Ident:
				inspectUse(s, n, report)
			case *ast.CallExpr:
				inspectPrint(s, n, report)
				inspectCompare(s, n, report)
			case *ast.BinaryExpr:
				inspectEqual(s, n, report)
			case *ast.FuncDecl:
				inspectPanics(s, n, report)
			}
			return true
		})
	}
	return out
}

type reporter func(rule string, pos token.Pos, format string, args ...any)

func inspectUse(s *source, id *ast.Ident, report reporter) {
	name := objectName(s.info.Uses[id])
	if name == "" {
		return
	}
	for _, r := range objectRules() {
		if slices.Contains(r.what, name) && !withinAny(s.ImportPath, r.rooms) {
			report(r.rule, id.Pos(), "uses %s: %s", name, r.reason)
		}
	}
}

// objectName answers "path.Name" of what stands at a package's top level and of a
// struct's field, "" for everything else.
func objectName(obj types.Object) string {
	if obj == nil || obj.Pkg() == nil {
		return ""
	}
	field, isVar := obj.(*types.Var)
	if obj.Parent() != obj.Pkg().Scope() && !(isVar && field.IsField()) {
		return ""
	}
	return obj.Pkg().Path() + "." + obj.Name()
}

// callee answers the function or method that a call names, as "path.Name" or
// "path.Type.Name", or "".
func callee(s *source, call *ast.CallExpr) (path, name string) {
	var id *ast.Ident
	switch f := ast.Unparen(call.Fun).(type) {
	case *ast.Ident:
		id = f
	case *ast.SelectorExpr:
		id = f.Sel
	default:
		return "", ""
	}
	if f, ok := s.info.Uses[id].(*types.Func); ok && f.Pkg() != nil {
		return f.Pkg().Path(), f.Name()
	}
	if b, ok := s.info.Uses[id].(*types.Builtin); ok {
		return "", b.Name()
	}
	return "", ""
}

// revealing are types whose printed form holds credentials: headers, query strings,
// tokens.
var revealing = []string{
	"net/http.Request", "net/http.Response", "net/http.Header", "net/url.URL", "net/url.Values", "net/http.Cookie",
	"golang.org/x/oauth2.Token", "net/url.Userinfo",
}

// inspectPrint looks at what is handed to anything that prints or logs.
func inspectPrint(s *source, call *ast.CallExpr, report reporter) {
	path, name := callee(s, call)
	prints := path == "fmt" || path == "log" || path == "log/slog" || path == module && (name == "Errorf" || name == "Invalid")
	if !prints || strings.HasPrefix(name, "Sscan") {
		return
	}
	for _, arg := range call.Args {
		tv, ok := s.info.Types[arg]
		if !ok {
			continue
		}
		if tv.Value != nil && tv.Value.Kind() == constant.String {
			if format := constant.StringVal(tv.Value); strings.Contains(format, "%+v") || strings.Contains(format, "%#v") {
				report(rulePrint, arg.Pos(), "prints with %%+v or %%#v, which opens whole structures; name the fields")
			}
		}
		typ := tv.Type
		if p, ok := typ.Underlying().(*types.Pointer); ok {
			typ = p.Elem()
		}
		if named, ok := types.Unalias(typ).(*types.Named); ok && slices.Contains(revealing, objectName(named.Obj())) {
			report(rulePrint, arg.Pos(), "prints a %s, which can hold a credential; print the method, host or status", objectName(named.Obj()))
		}
		if inner, ok := arg.(*ast.CallExpr); ok && (path != "fmt" || name == "Errorf") {
			if p, n := callee(s, inner); p == "net/url" && (n == "String" || n == "RequestURI") {
				report(rulePrint, arg.Pos(), "prints a whole URL, whose query can hold a credential; print the host")
			}
		}
	}
}

// inspectPanics forbids panic(err): the text of an error of a vendor or driver would
// reach the process's standard error. Functions named Must... take the program's own
// text alone, and http.ErrAbortHandler is net/http's own word for "cut it off".
func inspectPanics(s *source, f *ast.FuncDecl, report reporter) {
	if f.Body == nil || strings.HasPrefix(f.Name.Name, "Must") || strings.HasPrefix(f.Name.Name, "must") {
		return
	}
	failure, ok := types.Universe.Lookup("error").Type().Underlying().(*types.Interface)
	if !ok {
		return
	}
	ast.Inspect(f.Body, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) != 1 {
			return true
		}
		if _, name := callee(s, call); name != "panic" {
			return true
		}
		if sel, ok := call.Args[0].(*ast.SelectorExpr); ok && objectName(s.info.Uses[sel.Sel]) == "net/http.ErrAbortHandler" {
			return true
		}
		if typ := s.info.Types[call.Args[0]].Type; typ != nil && types.Implements(typ, failure) {
			report(rulePanic, call.Pos(), "panics with an error, whose text nobody has redacted; return it")
		}
		return true
	})
}

var authenticator = regexp.MustCompile(`(?i)(mac|hash|sig|signature|digest|token)$`)

// inspectCompare forbids comparing authenticators byte by byte, which takes longer
// the more of a guess is right.
func inspectCompare(s *source, call *ast.CallExpr, report reporter) {
	path, name := callee(s, call)
	if !(path == "bytes" && (name == "Equal" || name == "Compare") || path == "slices" && name == "Equal" || path == "reflect" && name == "DeepEqual") {
		return
	}
	for _, arg := range call.Args {
		if authenticator.MatchString(lastName(arg)) {
			report(ruleCompare, call.Pos(), "compares %s with %s.%s; use hmac.Equal or subtle.ConstantTimeCompare", lastName(arg), path, name)
			return
		}
	}
}

var comparedAuthenticator = regexp.MustCompile(`(?i)(mac|hash|sig|signature|digest)$`)

// inspectEqual is inspectCompare for == and != between strings or byte arrays. A
// comparison with a constant asks whether there is one at all.
func inspectEqual(s *source, e *ast.BinaryExpr, report reporter) {
	if e.Op != token.EQL && e.Op != token.NEQ || s.info.Types[e.X].Value != nil || s.info.Types[e.Y].Value != nil {
		return
	}
	typ := s.info.Types[e.X].Type
	if typ == nil {
		return
	}
	switch under := typ.Underlying().(type) {
	case *types.Basic:
		if under.Info()&types.IsString == 0 {
			return
		}
	case *types.Array:
	default:
		return
	}
	for _, operand := range []ast.Expr{e.X, e.Y} {
		name := lastName(operand)
		if call, ok := ast.Unparen(operand).(*ast.CallExpr); ok && name == "string" && len(call.Args) == 1 {
			name = lastName(call.Args[0])
		}
		if comparedAuthenticator.MatchString(name) {
			report(ruleCompare, e.Pos(), "compares %s with %s; use hmac.Equal or subtle.ConstantTimeCompare", name, e.Op)
			return
		}
	}
}

// lastName answers the name that an expression ends with, "" if it has none.
func lastName(e ast.Expr) string {
	switch e := ast.Unparen(e).(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.SliceExpr:
		return lastName(e.X)
	case *ast.CallExpr:
		return lastName(e.Fun)
	}
	return ""
}
