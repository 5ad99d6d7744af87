package authn

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"claviger"
	"claviger/internal/store"
)

// The flags of authenticator data (Web Authentication, section 6.1).
const (
	flagPresent  = 0x01
	flagVerified = 0x04
	flagAttested = 0x40
)

// device is an authenticator of one passkey, whose every word a test can change.
type device struct {
	t              *testing.T
	key            *ecdsa.PrivateKey
	id             []byte
	handle         string
	rp, origin     string
	challenge      string // in place of the one that it was given
	kind           string // of the client data, in place of the right one
	flags          byte
	count          uint32
	signsOtherData bool
}

func newDevice(t *testing.T) *device {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id := make([]byte, 16)
	_, _ = rand.Read(id)
	return &device{t: t, key: key, id: id, rp: "claviger.example", origin: "https://claviger.example", flags: flagPresent | flagVerified}
}

// askedFor is what a page hands to an authenticator.
type askedFor struct {
	Challenge string `json:"challenge"`
	RPID      string `json:"rpId"`
	RP        struct {
		ID string `json:"id"`
	} `json:"rp"`
	User struct {
		ID string `json:"id"`
	} `json:"user"`
	UserVerification       string `json:"userVerification"`
	AuthenticatorSelection struct {
		ResidentKey      string `json:"residentKey"`
		UserVerification string `json:"userVerification"`
	} `json:"authenticatorSelection"`
}

func (d *device) read(a Asked) (in askedFor) {
	d.t.Helper()
	if err := json.Unmarshal([]byte(a.Options), &in); err != nil {
		d.t.Fatal(err)
	}
	return in
}

func (d *device) clientData(kind, challenge string) []byte {
	if d.kind != "" {
		kind = d.kind
	}
	if d.challenge != "" {
		challenge = d.challenge
	}
	return fmt.Appendf(nil, `{"type":%q,"challenge":%q,"origin":%q,"crossOrigin":false}`, kind, challenge, d.origin)
}

func (d *device) data(flags byte) []byte {
	hash := sha256.Sum256([]byte(d.rp))
	return binary.BigEndian.AppendUint32(append(hash[:], flags), d.count)
}

// create answers a new passkey with the attestation "none" (section 8.7), in CBOR by hand.
func (d *device) create(a Asked) string {
	d.t.Helper()
	in := d.read(a)
	handle, err := base64.RawURLEncoding.DecodeString(in.User.ID)
	if err != nil {
		d.t.Fatal(err)
	}
	d.handle = string(handle)
	public, err := d.key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		d.t.Fatal(err)
	}
	data := append(d.data(d.flags|flagAttested), make([]byte, 16)...)
	data = append(data, 0, byte(len(d.id)))
	data = append(data, d.id...)
	data = append(data, 0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 32) // EC2, ES256, P-256
	data = append(data, public[1:33]...)
	data = append(data, 0x22, 0x58, 32)
	data = append(data, public[33:]...)
	object := append([]byte("\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58"), byte(len(data)))
	return d.answer(map[string]string{"clientDataJSON": b64(string(d.clientData("webauthn.create", in.Challenge))), "attestationObject": b64(string(append(object, data...)))})
}

// get answers an assertion (section 6.3.3).
func (d *device) get(a Asked) string {
	d.t.Helper()
	d.count++
	client, data := d.clientData("webauthn.get", d.read(a).Challenge), d.data(d.flags)
	hash := sha256.Sum256(client)
	signedData := append(data[:len(data):len(data)], hash[:]...)
	if d.signsOtherData {
		signedData[0]++
	}
	digest := sha256.Sum256(signedData)
	signature, err := ecdsa.SignASN1(rand.Reader, d.key, digest[:])
	if err != nil {
		d.t.Fatal(err)
	}
	return d.answer(map[string]string{
		"clientDataJSON": b64(string(client)), "authenticatorData": b64(string(data)), "signature": b64(string(signature)), "userHandle": b64(d.handle),
	})
}

func (d *device) answer(response map[string]string) string {
	text, err := json.Marshal(map[string]any{"id": b64(string(d.id)), "rawId": b64(string(d.id)), "type": "public-key", "clientExtensionResults": map[string]any{}, "response": response})
	if err != nil {
		d.t.Fatal(err)
	}
	return string(text)
}

// told answers a secret's text.
func told(s claviger.Secret) (text string) {
	s.Use(func(b []byte) { text = string(b) })
	return text
}

// settled makes the owner's passkey in place of a password, and answers its device.
func settled(t *testing.T, e *env) *device {
	t.Helper()
	d, link := newDevice(t), told(e.first.OwnerLink)
	asked, err := e.BeginSetUpPasskey(t.Context(), link, Chosen{Name: "Ada", Email: "ada@example.com"}, Visit{From: here})
	if err != nil {
		t.Fatal(err)
	}
	in := d.read(asked)
	if in.RP.ID != "claviger.example" || in.AuthenticatorSelection.UserVerification != "required" || in.AuthenticatorSelection.ResidentKey != "required" {
		t.Fatalf("asked for %s", asked.Options)
	}
	out, err := e.SetUpPasskey(t.Context(), link, told(asked.Cookie), d.create(asked), Visit{From: here})
	if err != nil || out.User.Email != "ada@example.com" {
		t.Fatalf("%+v, %v", out.User, err)
	}
	return d
}

func (e *env) begin(t *testing.T) Asked {
	t.Helper()
	asked, err := e.BeginPasskey(t.Context(), "/console/", Visit{From: here})
	if err != nil {
		t.Fatal(err)
	}
	return asked
}

// enter signs in with a device and answers the code of the refusal.
func (e *env) enter(t *testing.T, d *device) (SignedIn, string) {
	t.Helper()
	asked := e.begin(t)
	out, _, err := e.SignInWithPasskey(t.Context(), told(asked.Cookie), d.get(asked), Visit{From: here})
	if err != nil {
		return out, claviger.AsError(err).FineCode()
	}
	return out, ""
}

func TestPasskeys_ProveWhoWhereAndNow(t *testing.T) {
	e := start(t)
	d := settled(t, e)
	if in := d.read(e.begin(t)); in.RPID != "claviger.example" || in.UserVerification != "required" {
		t.Fatalf("asked for %+v", in)
	}
	for name, spoil := range map[string]func(*device){
		"another site":            func(d *device) { d.origin = "https://claviger.example.evil.example" },
		"a host below":            func(d *device) { d.origin = "https://a.claviger.example" },
		"plain http":              func(d *device) { d.origin = "http://claviger.example" },
		"another port":            func(d *device) { d.origin = "https://claviger.example:8443" },
		"another party":           func(d *device) { d.rp = "evil.example" },
		"nobody there":            func(d *device) { d.flags = flagVerified },
		"nobody recognized":       func(d *device) { d.flags = flagPresent },
		"another person":          func(d *device) { d.handle = "usr_00000000000000000000000000" },
		"no person":               func(d *device) { d.handle = "" },
		"another challenge":       func(d *device) { d.challenge = b64(strings.Repeat("x", 32)) },
		"an answer to a creation": func(d *device) { d.kind = "webauthn.create" },
		"another passkey":         func(d *device) { d.id = []byte("another passkey!") },
		"another key":             func(d *device) { d.key = newDevice(t).key },
		"other data":              func(d *device) { d.signsOtherData = true },
	} {
		spoilt := *d
		spoil(&spoilt)
		if _, code := e.enter(t, &spoilt); code != "wrong_passkey" {
			t.Errorf("%s: answered %q", name, code)
		}
		if got := e.ledger.last(t); got.Code != "wrong_passkey" || got.Outcome != claviger.OutcomeDenied {
			t.Errorf("%s: the ledger has %+v", name, got)
		}
	}
	for name, response := range map[string]string{"nothing": "", "no object": "[]", "too much": strings.Repeat("{", maxPasskeyResponse+1)} {
		asked := e.begin(t)
		if _, _, err := e.SignInWithPasskey(t.Context(), told(asked.Cookie), response, Visit{From: here}); claviger.AsError(err).FineCode() != "wrong_passkey" {
			t.Errorf("%s: answered %v", name, err)
		}
	}
	out, code := e.enter(t, d)
	if code != "" || out.Session.Proof != claviger.ProofPasskey || out.Session.Stage != claviger.SessionProven {
		t.Fatalf("what is right was refused with %q: the refusals above prove nothing", code)
	}
}

func TestPasskeys_ACeremonyEndsOnceAndSoon(t *testing.T) {
	e := start(t)
	d := settled(t, e)
	try := func(cookie, response string) string {
		_, _, err := e.SignInWithPasskey(t.Context(), cookie, response, Visit{From: here})
		if err != nil {
			return claviger.AsError(err).FineCode()
		}
		return ""
	}
	asked := e.begin(t)
	response := d.get(asked)
	if code := try("", response); code != "ceremony_over" {
		t.Errorf("without the cookie: %q", code)
	}
	if code := try(told(asked.Cookie), response); code != "" {
		t.Fatalf("the first time: %q", code)
	}
	if code := try(told(asked.Cookie), response); code != "ceremony_over" {
		t.Errorf("the second time: %q", code)
	}
	if code := try(told(e.begin(t).Cookie), response); code != "wrong_passkey" {
		t.Errorf("the same answer to another question: %q", code)
	}
	asked = e.begin(t)
	e.clock.pass(ceremonyLife)
	if code := try(told(asked.Cookie), d.get(asked)); code != "ceremony_over" {
		t.Errorf("ten minutes later: %q", code)
	}
	for range 40 {
		if _, err := e.BeginPasskey(t.Context(), "", Visit{From: here}); claviger.IsKind(err, claviger.KindRateLimited) {
			return
		}
	}
	t.Error("anybody can fill the database")
}

func TestPasskeys_ACounterThatGoesBackShutsBoth(t *testing.T) {
	e := start(t)
	d := settled(t, e)
	if _, code := e.enter(t, d); code != "" { // 1
		t.Fatal(code)
	}
	copied := *d
	for range 3 {
		if _, code := e.enter(t, d); code != "" {
			t.Fatal(code)
		}
	}
	if _, code := e.enter(t, &copied); code != "passkey_cloned" { // 2 after 4
		t.Errorf("the copy was answered %q", code)
	}
	if _, code := e.enter(t, d); code != "passkey_cloned" {
		t.Errorf("the other one was answered %q", code)
	}
	if kept, err := e.db.Passkeys(t.Context(), e.scope, e.first.User); err != nil || len(kept) != 1 || !kept[0].Cloned {
		t.Errorf("kept as %+v, %v", kept, err)
	}
}

// Passkeys that are kept by a service on many devices do not count at all.
func TestPasskeys_WithoutACounter(t *testing.T) {
	e := start(t)
	d := settled(t, e)
	for range 3 {
		d.count = ^uint32(0) // get counts on to zero
		if _, code := e.enter(t, d); code != "" {
			t.Fatal(code)
		}
	}
}

func TestPasskeys_AreAddedByWhoSignedInJustNow(t *testing.T) {
	e := start(t)
	first := settled(t, e)
	out, code := e.enter(t, first)
	if code != "" {
		t.Fatal(code)
	}
	seat := func() Seated {
		in, err := e.AuthenticateSession(t.Context(), told(out.Token), here)
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	add := func(spoil func(*device)) (err error) {
		d, in := newDevice(t), seat()
		asked, err := e.BeginAddPasskey(t.Context(), in, Visit{From: here})
		if err != nil {
			return err
		}
		spoil(d)
		next, err := e.AddPasskey(t.Context(), in, told(asked.Cookie), "Phone", d.create(asked), Visit{From: here})
		if err == nil {
			out = next
		}
		return err
	}
	for name, spoil := range map[string]func(*device){
		"another site":      func(d *device) { d.origin = "https://evil.example" },
		"another party":     func(d *device) { d.rp = "evil.example" },
		"nobody recognized": func(d *device) { d.flags = flagPresent },
		"another challenge": func(d *device) { d.challenge = b64(strings.Repeat("x", 32)) },
		"an answer to use":  func(d *device) { d.kind = "webauthn.get" },
		"a known passkey":   func(d *device) { d.id = first.id },
	} {
		if err := add(spoil); claviger.AsError(err).FineCode() != "wrong_passkey" {
			t.Errorf("%s: answered %v", name, err)
		}
	}
	before := out.Session.ID
	if err := add(func(*device) {}); err != nil || out.Session.ID == before {
		t.Fatalf("adding answered %v, session %s", err, out.Session.ID)
	}
	kept, err := e.Passkeys(t.Context(), seat())
	if err != nil || len(kept) != 2 {
		t.Fatalf("%+v, %v", kept, err)
	}
	if out, err = e.RemovePasskey(t.Context(), seat(), kept[0].ID, Visit{From: here}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.RemovePasskey(t.Context(), seat(), kept[1].ID, Visit{From: here}); claviger.AsError(err).FineCode() != "last_way_in" {
		t.Errorf("the last one was removed: %v", err)
	}
	e.clock.pass(freshFor)
	if err := add(func(*device) {}); claviger.AsError(err).FineCode() != "sign_in_again" {
		t.Errorf("an old session added a passkey: %v", err)
	}
	if err := e.db.InTx(t.Context(), "", func(tx *store.Tx) error {
		_, err := tx.UpdateUser(t.Context(), e.scope, e.first.User, func(u claviger.User) (claviger.User, error) { u.Disabled = true; return u, nil })
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if _, code := e.enter(t, first); code != "wrong_passkey" {
		t.Errorf("a disabled person was answered %q", code)
	}
}

// A set-up link takes passkeys away with all else.
func TestPasskeys_EndWithASetUpLink(t *testing.T) {
	e := start(t)
	d := settled(t, e)
	link, err := e.OwnerLink(t.Context(), e.first.Organization)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.SetUp(t.Context(), told(link), Chosen{Password: claviger.NewSecretString("analytical engines weave")}, Visit{From: here}); err != nil {
		t.Fatal(err)
	}
	if _, code := e.enter(t, d); code != "wrong_passkey" {
		t.Errorf("the passkey before was answered %q", code)
	}
}
