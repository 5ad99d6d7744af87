package claviger_test

import (
	"go/ast"
	"go/types"
	"maps"
	"slices"
	"strings"
	"testing"
)

// reveal is a file that may look into secrets: how often it calls Secret.Use, at
// most, and why.
type reveal struct {
	calls  int
	reason string
}

// reveals lists every caller of Secret.Use in product code. A new one fails the test
// until somebody has written down here why it must see the bytes.
func reveals() map[string]reveal {
	return map[string]reveal{
		"internal/inject/apply.go":          {1, "puts the credential on the request: what the product is for"},
		"internal/hookverify/sample.go":     {2, "signs a delivery with the slot's own secret, to try the slot"},
		"internal/certify/certify.go":       {1, "signs certificates with the organization's key"},
		"internal/vault/sso.go":             {1, "seals the secret of an organization's client at its provider"},
		"internal/vault/trust.go":           {1, "seals the key that signs certificates"},
		"internal/hookverify/explain.go":    {1, "tries what a vendor may have made of the secret's text"},
		"internal/hookverify/handshake.go":  {1, "answers a vendor's challenge with the slot's secret"},
		"internal/hookverify/jwt.go":        {1, "verifies a vendor's token with the slot's secret"},
		"internal/hookverify/key.go":        {3, "refuses a secret that could not verify anything, and decodes the others"},
		"internal/hookverify/signature.go":  {2, "verifies a vendor's signature with the slot's secret"},
		"internal/inject/dpop.go":           {1, "proves the key that a token is bound to: signs with it, and hashes the token"},
		"internal/vault/party.go":           {1, "makes requests to authorization servers with the client and the tokens that a connection brings"},
		"internal/seal/chain.go":            {3, "makes the ledger's chaining and signing keys from the master secret"},
		"internal/seal/credentials.go":      {2, "encodes credentials for sealing: their sizes, then their bytes"},
		"internal/seal/kek.go":              {3, "makes the key that wraps keysets, and its name, from the master key"},
		"internal/vault/refresh_hold.go":    {1, "journals a vendor's answer"},
		"internal/vault/refresh_outcome.go": {2, "compares a new refresh token with the old one"},
		"internal/vault/secrets.go":         {2, "checks a value's form, and seals a stored secret"},
		"internal/vault/events.go":          {1, "seals the signing secret of an event endpoint"},
		"internal/events/sign.go":           {1, "signs what is sent to an event endpoint"},
		"internal/catalog/credentials.go":   {1, "compares a value that a caller gave with its field's pattern"},
		"internal/broker/connect_resume.go": {1, "reads what a browser brought back, which was kept beside the vendor's answer to it"},
		"internal/broker/prove.go":          {2, "makes a TLS identity of a certificate and its key"},
		"internal/broker/receive_asking.go": {1, "the id of the account that a vendor tells its webhook keys to stands in the request for its token"},
		"internal/broker/secrets.go":        {1, "measures a value before it is stored; the bytes stay inside"},
		"internal/authn/bootstrap.go":       {2, "checks and hashes the application's secret of an automated set-up"},
		"internal/authn/password.go":        {2, "hashes a password that somebody chooses or presents, and refuses a weak one"},
		"internal/surface/console/wire.go":  {4, "gives a browser the cookies of the session and of the ceremony that were made for it, its forms their token, and the page at which it connects an account"},
		"internal/authn/operator.go":        {2, "hashes the client secret that somebody presents, with a key"},
		"internal/wire/body.go":             {1, "keys the hash of a request whose answer is kept"},
		"internal/surface/embedded/wire.go": {1, "answers a token that was minted for this very request"},
		"internal/oauth/client.go":          {1, "puts client secrets and tokens into requests to the authorization server that issued them, signs with keys, and reads its answers"},
		"internal/egress/scrub.go":          {1, "needs a credential's forms to find its echoes in answers"},
		"internal/app/inspect.go":           {1, "reads the master key's address to see whether it opens"},
		"internal/app/app.go":               {2, "reads the master key's address, which may be the key itself, and shows a set-up link to whom it is for"},
		"internal/app/mount.go":             {1, "makes the key that authenticates list cursors"},
		"internal/surface/native/wire.go":   {1, "answers a secret that was made for this very request, once"},
		"cmd/claviger/serve.go":             {1, "shows the first start's secrets to the operator, once"},
		"cmd/claviger/quickstart.go":        {1, "the sample vendor compares its own sample key"},
		"cmd/claviger/secret.go":            {1, "sends the value that the person typed to claviger"},
		"client/request.go":                 {1, "sends the caller's own token to claviger"},
		"client/token.go":                   {1, "sends an application's own secret to mint a token"},
		"cmd/claviger/organization.go":      {1, "sends the value that the person typed to claviger"},
		"cmd/claviger/root.go":              {1, "hands the person's own token to the client"},
		"cmd/claviger/login.go":             {1, "puts the person's own token into their keychain, or their own file"},
	}
}

func TestArchitecture_WhoLooksIntoSecrets(t *testing.T) {
	found := map[string][]string{}
	for _, s := range load(t).packages {
		if s.tool() || s.ImportPath == module {
			continue
		}
		for _, at := range looks(s) {
			file, _, _ := strings.Cut(at, ":")
			found[file] = append(found[file], at)
		}
	}
	for _, file := range slices.Sorted(maps.Keys(found)) {
		slices.Sort(found[file])
		allowed, ok := reveals()[file]
		if !ok {
			t.Errorf("%s looks into secrets at %v: add it to the table with the reason, or do without", file, found[file])
		} else if len(found[file]) > allowed.calls {
			t.Errorf("%s looks into secrets %d times, at %v; %d are accounted for (%s)", file, len(found[file]), found[file], allowed.calls, allowed.reason)
		}
	}
	for file, r := range reveals() {
		if r.reason == "" || r.calls < 1 {
			t.Errorf("%s stands in the table without a reason", file)
		}
	}
}

// looks answers where a package reaches for Secret.Use, called or not.
func looks(s *source) (at []string) {
	for expr, selection := range s.info.Selections {
		f, ok := selection.Obj().(*types.Func)
		if ok && f.Name() == "Use" && isSecret(f.Signature().Recv().Type()) {
			at = append(at, s.at(expr.Sel.Pos()))
		}
	}
	return at
}

// isSecret reports whether a type is claviger.Secret or a pointer to it.
func isSecret(typ types.Type) bool {
	if p, ok := types.Unalias(typ).(*types.Pointer); ok {
		typ = p.Elem()
	}
	named, ok := types.Unalias(typ).(*types.Named)
	return ok && objectName(named.Obj()) == module+".Secret"
}

// DTOs are encoded; a secret in one could not be, and has no business there.
func TestAbuse_173_WireShapesHoldNoSecret(t *testing.T) {
	for _, s := range load(t).packages {
		if s.ImportPath != module+"/api" {
			continue
		}
		for id, obj := range s.info.Uses {
			if objectName(obj) == module+".Secret" {
				t.Errorf("%s uses claviger.Secret: wire shapes never hold one", s.at(id.Pos()))
			}
		}
	}
}

// scopeless are the exported methods of the store that take no Scope, although every
// method that touches a tenant's rows must, and why. A method that stands neither
// here nor takes a Scope fails the test.
func scopeless() map[string]string {
	plumbing := map[string]string{
		"opens, closes or describes the database":                                "Close Ready Engine Regions RegionOf Places PlaceOf InTx",
		"lends a database or a transaction to the job queue, which keeps ids":    "QueueDBs Queue BeatWorker ForgetWorker",
		"finds who asks: there is no scope before authentication":                "APIKeyByHash ApplicationByClientID TokenByID UserByID OrganizationByID ConnectSessionByHash",
		"a command line belongs to nobody before a person has let it in":         "CreateLogin LoginByCode LoginByUserCode UpdateLogin",
		"administers the instance, which is above all tenants":                   "Organizations Organization CreateOrganization CountOrganizations InstanceOrganization DeleteOrganization",
		"instance facts and keysets belong to no caller":                         "Fact PutFact Facts Keyset PutKeyset Keysets KeysetsApart Masters Rewrap AddSeals SealedConnections SealedSecrets Ciphertexts Reseal",
		"the ledger's own plumbing: streams and checkpoints span tenants":        "Stream AppendLedger MovedStreams Streams WalkStream LastCheckpoint AddCheckpoint MarkCheckpointed WalkCheckpoints",
		"counts of calls that the gate has already decided on":                   "AddUsage MarkUsed TouchAPIKeys",
		"the change feed names stale rows to every node, by id alone":            "AddChange Changes Follow PurgeChanges",
		"keyed by organization and caller, from a request already authenticated": "BeginIdempotent FinishIdempotent AbandonIdempotent PurgeIdempotent",
		"a browser that leaves for a vendor or comes back has nothing but this":  "ConnectFlowByID ConnectFlowByState",
		"finds who signs in to the console: there is no scope before":            "SessionByHash Candidates CandidateByID SetupLinkByHash PasskeyByHash CreateCeremony TakeCeremony",
		"stands on pages for people who are signed in nowhere":                   "Branding",
		"a webhook's address is all that a vendor brings; the rest follows":      "SystemAt AddInbound OpenInbound InboundAt SettleInbound PassInbound ParkedInbound UnparkInbound",
		"housekeeping by age": "PurgeExpired PurgeEventDeliveries PurgeConnecting PurgeInbound PurgePrevious",
		"tells and sends what an organization's own, decided change caused": "Subscribed AddEventDelivery DeliveryToSend EndpointToCall SaveEventDelivery DisableEventEndpoint",
		"tells the background what to look after, by id alone":              "DueGrants StaleConnectFlows",
		"revokes what an organization's own, decided deletion left":         "AddRevocations Revocation ClaimRevocation SaveRevocation ShowRevocations DueRevocations NextRevocation OverdueRevocations",
		"a number for the instance's metrics, of no tenant":                 "NextDeath",
	}
	out := map[string]string{}
	for reason, names := range plumbing {
		for _, name := range strings.Fields(names) {
			out[name] = reason
		}
	}
	return out
}

func TestArchitecture_StoreMethodsTakeAScope(t *testing.T) {
	for _, s := range load(t).packages {
		if s.ImportPath != internal+"store" {
			continue
		}
		for _, m := range missingScope(s) {
			t.Errorf("%s takes no claviger.Scope: whatever touches a tenant's rows adds one to its conditions", m)
		}
	}
}

// missingScope answers the exported methods of DB and Tx that should take a Scope.
func missingScope(s *source) (out []string) {
	exempt := scopeless()
	for _, file := range s.files {
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Recv == nil || !f.Name.IsExported() || exempt[f.Name.Name] != "" {
				continue
			}
			recv := lastName(deref(f.Recv.List[0].Type))
			if (recv == "DB" || recv == "Tx") && !takes(s, f, module+".Scope") {
				out = append(out, s.at(f.Pos())+": "+f.Name.Name)
			}
		}
	}
	return out
}

// ticketless are the exported methods of the vault that answer something secret and take
// no Ticket of the gate, which every other does, and why.
func ticketless() map[string]string {
	return map[string]string{
		"OpenEventSecret": "claviger's own secret; it signs what was decided and recorded when it happened",
		"OpenInstance":    "the instance's own keys, which no caller asks for",
		"SealInstance":    "the bytes that it answers are a ciphertext",
		"Issued":          "arranges tokens that it is given",
		"SubjectOf":       "asks the gate for a ticket itself",
	}
}

func TestArchitecture_RevealingTakesATicket(t *testing.T) {
	for _, s := range load(t).packages {
		if s.ImportPath != internal+"vault" {
			continue
		}
		found := unadmitted(s)
		for name, at := range found {
			if ticketless()[name] == "" {
				t.Errorf("%s: %s answers something secret and takes no *gate.Ticket: nobody has decided on that use, and nobody will know of it", at, name)
			}
		}
		for name := range ticketless() {
			if found[name] == "" {
				t.Errorf("%s needs no exception any more", name)
			}
		}
	}
}

// unadmitted answers the exported methods of Vault that answer something secret and take no
// ticket, with their places.
func unadmitted(s *source) map[string]string {
	out := map[string]string{}
	for _, file := range s.files {
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Recv == nil || !f.Name.IsExported() || lastName(deref(f.Recv.List[0].Type)) != "Vault" || takes(s, f, internal+"gate.Ticket") {
				continue
			}
			for v := range s.info.Defs[f.Name].(*types.Func).Signature().Results().Variables() {
				if secret(v.Type(), 4) {
					out[f.Name.Name] = s.at(f.Pos())
				}
			}
		}
	}
	return out
}

// secret reports whether a value of the type is, or holds, bytes or a Secret. A Sealed may
// be seen.
func secret(t types.Type, depth int) bool {
	if depth == 0 {
		return false
	}
	if named, ok := types.Unalias(t).(*types.Named); ok {
		switch objectName(named.Obj()) {
		case module + ".Secret":
			return true
		case module + ".Sealed":
			return false
		}
	}
	switch u := t.Underlying().(type) {
	case *types.Pointer:
		return secret(u.Elem(), depth)
	case *types.Slice:
		return types.Identical(u.Elem(), types.Typ[types.Byte]) || secret(u.Elem(), depth)
	case *types.Map:
		return secret(u.Elem(), depth)
	case *types.Struct:
		for f := range u.Fields() {
			if secret(f.Type(), depth-1) {
				return true
			}
		}
	}
	return false
}

// The rules above are worth something only if they find what they look for.
func TestArchitecture_SecretAndScopeRulesBite(t *testing.T) {
	p := load(t)
	compile := func(src string) *source {
		s := &source{ImportPath: internal + "store"}
		if err := p.check(s, map[string]any{"x.go": "package x\nimport \"claviger\"\n" + src}); err != nil || s.err != nil {
			t.Fatal(err, s.err)
		}
		return s
	}
	for src, want := range map[string]int{
		`func f(s claviger.Secret) { s.Use(nil) }`:                                 1,
		`func f(s *claviger.Secret) { s.Use(nil) }`:                                1,
		`func f(c claviger.Credentials) { c["k"].Use(nil) }`:                       1,
		`func f(s claviger.Secret) func(func([]byte)) { return s.Use }`:            1,
		`var f = claviger.Secret.Use`:                                              1,
		`type T struct{ claviger.Secret }; func f(t T) { t.Use(nil) }`:             1,
		`type T struct{}; func (T) Use() {}; var _ claviger.Secret; var f = T.Use`: 0,
	} {
		if got := looks(compile(src)); len(got) != want {
			t.Errorf("%s: found %v, want %d", src, got, want)
		}
	}
	for src, want := range map[string]int{
		`type DB struct{}; func (*DB) Everything(id claviger.ConnectionID) {}`:            1,
		`type Tx struct{}; func (tx Tx) Wipe() {}; var _ claviger.Scope`:                  1,
		`type DB struct{}; func (*DB) Own(s claviger.Scope, id claviger.ConnectionID) {}`: 0,
		`type DB struct{}; func (*DB) Close() {}; var _ claviger.Scope`:                   0,
		`type DB struct{}; func (*DB) inner() {}; var _ claviger.Scope`:                   0,
	} {
		if got := missingScope(compile(src)); len(got) != want {
			t.Errorf("%s: found %v, want %d", src, got, want)
		}
	}
	for src, want := range map[string]int{
		`type Vault struct{}; func (*Vault) A() claviger.Secret { panic(0) }`:                           1,
		`type Vault struct{}; func (*Vault) A() ([]byte, error) { panic(0) }; var _ claviger.Secret`:    1,
		`type Vault struct{}; func (*Vault) A() map[string][]struct{ S *claviger.Secret } { panic(0) }`: 1,
		`type Vault struct{}; func (*Vault) A() (claviger.Sealed, error) { panic(0) }`:                  0,
		`type Vault struct{}; func (*Vault) a() claviger.Secret { panic(0) }`:                           0,
		`type T struct{}; func (*T) A() claviger.Secret { panic(0) }`:                                   0,
	} {
		if got := unadmitted(compile(src)); len(got) != want {
			t.Errorf("%s: found %v, want %d", src, got, want)
		}
	}
}

func deref(e ast.Expr) ast.Expr {
	if star, ok := e.(*ast.StarExpr); ok {
		return star.X
	}
	return e
}

// takes reports whether a function has a parameter of the type, or a pointer to it.
func takes(s *source, f *ast.FuncDecl, name string) bool {
	obj, ok := s.info.Defs[f.Name].(*types.Func)
	if !ok {
		return false
	}
	for v := range obj.Signature().Params().Variables() {
		t := types.Unalias(v.Type())
		if p, ok := t.(*types.Pointer); ok {
			t = types.Unalias(p.Elem())
		}
		if named, ok := t.(*types.Named); ok && objectName(named.Obj()) == name {
			return true
		}
	}
	return false
}
