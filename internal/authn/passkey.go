package authn

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/netip"
	"net/url"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"claviger"
	"claviger/internal/store"
)

// maxPasskeyResponse bounds what a browser's script sends of an authenticator.
const maxPasskeyResponse = 32 << 10

// relyingParty answers what passkeys are bound to: the host and the origin of the public
// URL, whatever a request says of itself. It is nil where the host is an address, which
// WebAuthn knows no passkeys for (Web Authentication, section 5.1.3).
func relyingParty(publicURL string) (*webauthn.WebAuthn, error) {
	u, err := url.Parse(publicURL)
	if err != nil {
		return nil, err
	}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil || u.Hostname() == "" {
		return nil, nil
	}
	return webauthn.New(&webauthn.Config{
		RPID: u.Hostname(), RPDisplayName: "claviger", RPOrigins: []string{u.Scheme + "://" + u.Host},
		// Nobody is asked which make of authenticator they have.
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			RequireResidentKey: protocol.ResidentKeyRequired(), ResidentKey: protocol.ResidentKeyRequirementRequired,
			UserVerification: protocol.VerificationRequired,
		},
	})
}

// OffersPasskeys reports whether people can have passkeys here: the public URL has a name.
func (a *Authority) OffersPasskeys() bool { return a.party != nil }

func (a *Authority) mustOffer() error {
	if a.party == nil {
		return claviger.Errorf(claviger.KindConflict, "passkeys_need_a_name", "Passkeys need a public URL with a host name. This server's has an address.")
	}
	return nil
}

// holder is a person as the library asks for them.
type holder struct {
	user claviger.User
	keys []webauthn.Credential
}

// WebAuthnID answers the user handle: an identifier that says nothing of the person.
func (h holder) WebAuthnID() []byte { return []byte(h.user.ID) }

// WebAuthnName answers what an authenticator lists the account as.
func (h holder) WebAuthnName() string { return h.user.Email }

// WebAuthnDisplayName answers the person's name.
func (h holder) WebAuthnDisplayName() string { return h.user.Name }

// WebAuthnCredentials answers the person's passkeys.
func (h holder) WebAuthnCredentials() []webauthn.Credential { return h.keys }

// Asked is what a browser's script hands to the authenticator, as JSON, and the cookie with
// which the browser comes back.
type Asked struct {
	Options string
	Cookie  claviger.Secret
}

// passkeyCeremony is what is kept of one that was begun.
type passkeyCeremony struct {
	Session webauthn.SessionData
	Next    string
	Link    []byte // hash of the set-up link
	Name    string // of the person at their link
	Email   string
}

func (a *Authority) ask(ctx context.Context, kind string, options any, kept passkeyCeremony, v Visit) (Asked, error) {
	text, err := json.Marshal(options)
	if err != nil {
		return Asked{}, err
	}
	cookie, err := a.beginCeremony(ctx, kind, kept, v)
	return Asked{Options: string(text), Cookie: claviger.NewSecretString(cookie)}, err
}

// BeginPasskey begins signing in with a passkey. next is where the person goes then.
func (a *Authority) BeginPasskey(ctx context.Context, next string, v Visit) (Asked, error) {
	if err := a.mustOffer(); err != nil {
		return Asked{}, err
	}
	options, session, err := a.party.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return Asked{}, err
	}
	return a.ask(ctx, kindPasskey, options.Response, passkeyCeremony{Session: *session, Next: next}, v)
}

// SignInWithPasskey lets in who has a passkey: the authenticator verified the person, so no
// second factor is asked for. cookie and response are what the browser brought back.
//
// Errors: KindUnauthenticated "ceremony_over", "wrong_passkey" and "passkey_cloned".
func (a *Authority) SignInWithPasskey(ctx context.Context, cookie, response string, v Visit) (_ SignedIn, next string, err error) {
	if err := a.mustOffer(); err != nil {
		return SignedIn{}, "", err
	}
	var begun passkeyCeremony
	if err := a.takeCeremony(ctx, kindPasskey, cookie, &begun); err != nil {
		return SignedIn{}, "", err
	}
	p, who, used, err := a.presented(ctx, begun.Session, response)
	if err != nil {
		return SignedIn{}, begun.Next, a.passkeyRefused(ctx, v, &who, err)
	}
	scope := claviger.Authenticated(p.Organization, "")
	out, err := a.openSession(ctx, &who, claviger.SessionProven, claviger.ProofPasskey, v, func(tx *store.Tx) error {
		return tx.UpdatePasskey(ctx, scope, p.ID, func(old claviger.Passkey) (claviger.Passkey, error) { return a.counted(old, used) })
	})
	if errors.Is(err, errCloned) {
		err = a.shutPasskey(ctx, &who, p.ID, v)
	}
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, errCloned) {
		return SignedIn{}, begun.Next, a.passkeyRefused(ctx, v, &who, err)
	}
	return out, begun.Next, err
}

var (
	// errCloned says that a passkey's counter went back.
	errCloned = errors.New("authn: the passkey's counter went back")
	// errPasskey says that what a browser brought back proves nothing.
	errPasskey = errors.New("authn: no passkey of anybody")
)

// presented checks what an authenticator answered (Web Authentication, section 7.2) and
// answers whose passkey it was, with the credential as it was used.
func (a *Authority) presented(ctx context.Context, session webauthn.SessionData, response string) (p claviger.Passkey, who claviger.User, used *webauthn.Credential, err error) {
	if len(response) > maxPasskeyResponse {
		return p, who, nil, errPasskey
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes([]byte(response))
	if err != nil {
		return p, who, nil, errPasskey
	}
	hash := sha256.Sum256(parsed.RawID)
	p, err = a.db.PasskeyByHash(ctx, hash[:])
	var c store.Candidate
	if err == nil {
		c, err = a.db.CandidateByID(ctx, p.User)
	}
	if errors.Is(err, store.ErrNotFound) { // removed, or the person's, or they are disabled
		return p, who, nil, errPasskey
	}
	if err != nil {
		return p, who, nil, unavailable(err)
	}
	key, err := credentialOf(p)
	if err != nil {
		return p, who, nil, err
	}
	who = c.User
	_, used, err = a.party.ValidatePasskeyLogin(func(_, handle []byte) (webauthn.User, error) {
		if string(handle) != string(p.User) {
			return nil, errPasskey
		}
		return holder{who, []webauthn.Credential{key}}, nil
	}, session, parsed)
	switch {
	case err != nil:
		return p, who, nil, errors.Join(errPasskey, err)
	case p.Cloned:
		return p, who, nil, errCloned
	}
	return p, who, used, nil
}

func credentialOf(p claviger.Passkey) (c webauthn.Credential, err error) {
	return c, json.Unmarshal(p.Credential, &c)
}

// counted answers a passkey after its use. The counter is compared with the one that is
// kept now, which another use may have moved (Web Authentication, section 7.2, step 22).
func (a *Authority) counted(old claviger.Passkey, used *webauthn.Credential) (claviger.Passkey, error) {
	if old.Cloned || used.Authenticator.CloneWarning {
		return old, errCloned
	}
	kept, err := credentialOf(old)
	if err != nil {
		return old, err
	}
	kept.Authenticator.UpdateCounter(used.Authenticator.SignCount)
	if kept.Authenticator.CloneWarning {
		return old, errCloned
	}
	kept.Flags = used.Flags
	old.LastUsedAt = a.now()
	old.Credential, err = json.Marshal(kept)
	return old, err
}

// shutPasskey keeps both of two authenticators with the same key from signing in: nobody
// knows which of them is the person's.
func (a *Authority) shutPasskey(ctx context.Context, u *claviger.User, id claviger.PasskeyID, v Visit) error {
	c := person(u, v.From)
	err := a.ledger.Change(ctx, c, claviger.SignInsUpdate, userResource(u), func(tx *store.Tx) error {
		return tx.UpdatePasskey(ctx, c.Scope, id, func(old claviger.Passkey) (claviger.Passkey, error) {
			old.Cloned = true
			return old, nil
		})
	})
	return errors.Join(errCloned, err)
}

// passkeyRefused writes down that somebody was not let in, and answers what they are told.
func (a *Authority) passkeyRefused(ctx context.Context, v Visit, u *claviger.User, cause error) error {
	if claviger.IsKind(cause, claviger.KindUnavailable) {
		return cause
	}
	r, e := refuse("wrong_passkey"), claviger.Errorf(claviger.KindUnauthenticated, "wrong_passkey", "This passkey is not one of anybody who may sign in here. Was it removed?")
	if errors.Is(cause, errCloned) {
		r, e = refuse("passkey_cloned"), claviger.Errorf(claviger.KindUnauthenticated, "passkey_cloned",
			"This passkey was used by two devices that count apart, as a copy would, so it lets nobody in any more. Sign in another way and remove it, or ask for a new set-up link.")
	}
	r.resource, r.org, r.actor = "session", u.Organization, string(u.ID)
	_, _ = a.refused(ctx, v.From, r)
	return e.With(cause)
}

// Passkeys lists the person's passkeys, the newest first.
func (a *Authority) Passkeys(ctx context.Context, in Seated) ([]claviger.Passkey, error) {
	return a.db.Passkeys(ctx, in.Caller.Scope, in.User.ID)
}

// BeginAddPasskey begins adding a passkey to a person who signed in just now.
//
// Errors: KindConflict "sign_in_again" and "passkeys_need_a_name".
func (a *Authority) BeginAddPasskey(ctx context.Context, in Seated, v Visit) (Asked, error) {
	if err := errors.Join(a.mustOffer(), a.fresh(in)); err != nil {
		return Asked{}, err
	}
	kept, err := a.Passkeys(ctx, in)
	if err != nil {
		return Asked{}, err
	}
	if len(kept) >= store.MaxPasskeys {
		return Asked{}, tooManyPasskeys()
	}
	h := holder{user: in.User}
	for _, p := range kept {
		key, err := credentialOf(p)
		if err != nil {
			return Asked{}, err
		}
		h.keys = append(h.keys, key)
	}
	// An authenticator holds one passkey of each person.
	options, session, err := a.party.BeginRegistration(h, webauthn.WithExclusions(webauthn.Credentials(h.keys).CredentialDescriptors()))
	if err != nil {
		return Asked{}, err
	}
	return a.ask(ctx, kindAddPasskey, options.Response, passkeyCeremony{Session: *session}, v)
}

func tooManyPasskeys() *claviger.Error {
	return claviger.Errorf(claviger.KindConflict, "too_many_passkeys", "You have %d passkeys. Remove one that you do not need.", store.MaxPasskeys)
}

// AddPasskey adds the passkey that an authenticator made, under a name. All other sessions
// of the person end, as with any change of how they sign in.
//
// Errors: KindInvalid with Param name, KindUnauthenticated "ceremony_over" and
// "wrong_passkey", KindConflict "sign_in_again" and "too_many_passkeys".
func (a *Authority) AddPasskey(ctx context.Context, in Seated, cookie, name, response string, v Visit) (SignedIn, error) {
	if err := errors.Join(a.mustOffer(), a.fresh(in)); err != nil {
		return SignedIn{}, err
	}
	var begun passkeyCeremony
	if err := a.takeCeremony(ctx, kindAddPasskey, cookie, &begun); err != nil {
		return SignedIn{}, err
	}
	p, err := a.newPasskey(in.User, begun.Session, name, response)
	if err != nil {
		return SignedIn{}, err
	}
	out, err := a.renew(ctx, in, v, in.Session.Proof, func(tx *store.Tx, s claviger.Scope) error { return tx.CreatePasskey(ctx, s, p) })
	var taken *store.Conflict
	if errors.As(err, &taken) && taken.Field == "passkeys" {
		return out, tooManyPasskeys()
	}
	if errors.As(err, &taken) {
		return out, a.passkeyRefused(ctx, v, &in.User, err)
	}
	return out, err
}

// newPasskey checks what an authenticator made (Web Authentication, section 7.1).
func (a *Authority) newPasskey(u claviger.User, session webauthn.SessionData, name, response string) (claviger.Passkey, error) {
	shown, _, err := CanonicalName("name", name)
	if err != nil {
		return claviger.Passkey{}, err
	}
	wrong := claviger.Errorf(claviger.KindUnauthenticated, "wrong_passkey", "What the device answered is no passkey for this page. Start again.")
	if len(response) > maxPasskeyResponse {
		return claviger.Passkey{}, wrong
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes([]byte(response))
	if err != nil {
		return claviger.Passkey{}, wrong.With(err)
	}
	made, err := a.party.CreateCredential(holder{user: u}, session, parsed)
	if err != nil {
		return claviger.Passkey{}, wrong.With(err)
	}
	// What an authenticator says of its make is not asked for, and not kept.
	made.Attestation = webauthn.CredentialAttestation{}
	text, err := json.Marshal(made)
	if err != nil {
		return claviger.Passkey{}, err
	}
	id, err := claviger.NewID(claviger.PrefixPasskey, a.now(), a.random)
	hash := sha256.Sum256(made.ID)
	return claviger.Passkey{
		ID: claviger.PasskeyID(id), Organization: u.Organization, User: u.ID, Name: shown, CredentialHash: hash[:], Credential: text, CreatedAt: a.now(),
	}, err
}

// RemovePasskey takes a passkey away. The last way to sign in stays.
//
// Errors: KindNotFound, KindConflict "sign_in_again" and "last_way_in".
func (a *Authority) RemovePasskey(ctx context.Context, in Seated, id claviger.PasskeyID, v Visit) (SignedIn, error) {
	if err := a.fresh(in); err != nil {
		return SignedIn{}, err
	}
	kept, err := a.Passkeys(ctx, in)
	if err != nil {
		return SignedIn{}, err
	}
	linked, err := a.Linked(ctx, in)
	if err != nil {
		return SignedIn{}, err
	}
	if len(kept) < 2 && !in.Password && !linked {
		return SignedIn{}, lastWayIn()
	}
	return a.renew(ctx, in, v, in.Session.Proof, func(tx *store.Tx, s claviger.Scope) error {
		err := tx.DeletePasskey(ctx, s, in.User.ID, id)
		if errors.Is(err, store.ErrNotFound) {
			return claviger.NotFound("passkey")
		}
		return err
	})
}

func lastWayIn() *claviger.Error {
	return claviger.Errorf(claviger.KindConflict, "last_way_in", "Without it you could not sign in any more. Choose a password or add a passkey first.")
}

// BeginSetUpPasskey begins choosing a passkey at a set-up link, in place of a password.
//
// Errors: those of [Authority.SetUp].
func (a *Authority) BeginSetUpPasskey(ctx context.Context, token string, in Chosen, v Visit) (Asked, error) {
	if err := a.mustOffer(); err != nil {
		return Asked{}, err
	}
	s, u, err := a.named(ctx, token, in, v)
	if err != nil {
		return Asked{}, err
	}
	options, session, err := a.party.BeginRegistration(holder{user: u})
	if err != nil {
		return Asked{}, err
	}
	return a.ask(ctx, kindSetUpPasskey, options.Response, passkeyCeremony{Session: *session, Link: s.link.Hash, Name: u.Name, Email: u.Email}, v)
}

// SetUpPasskey uses a link up as [Authority.SetUp] does, with the passkey that an
// authenticator made.
func (a *Authority) SetUpPasskey(ctx context.Context, token, cookie, response string, v Visit) (SignedIn, error) {
	if err := a.mustOffer(); err != nil {
		return SignedIn{}, err
	}
	var begun passkeyCeremony
	if err := a.takeCeremony(ctx, kindSetUpPasskey, cookie, &begun); err != nil {
		return SignedIn{}, err
	}
	s, u, err := a.named(ctx, token, Chosen{Name: begun.Name, Email: begun.Email}, v)
	if err != nil {
		return SignedIn{}, err
	}
	if !hmac.Equal(s.link.Hash, begun.Link) {
		return SignedIn{}, linkOver()
	}
	p, err := a.newPasskey(u, begun.Session, "Passkey", response)
	if err != nil {
		return SignedIn{}, err
	}
	return a.useLink(ctx, s, u, "", &p, v)
}
