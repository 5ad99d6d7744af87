package authn

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"claviger"
	"claviger/internal/store"
)

// The claims that the API this surface follows gives its tokens.
const (
	claimWorkspace = "io.airbyte.auth.workspace_scope"
	typScoped      = "io.airbyte.auth.embedded_v1"
	typOperator    = "claviger.operator_v1"
	operatorLife   = 15 * time.Minute
	scopedLife     = 20 * time.Minute
	longestLife    = scopedLife
	maxSkew        = time.Minute // of a node's clock against the one that minted
)

// tokenKind is everything that differs between the kinds of signed token. Adding a
// kind is adding a line to [tokenKinds].
type tokenKind struct {
	kind     claviger.CallerKind
	header   string // "typ" of the JWS header (RFC 8725, section 3.11)
	typ      string // "typ" claim inside the signed payload; must agree
	audience string // the one audience
	life     time.Duration
	role     claviger.Role
	bound    bool // to one workspace
}

func tokenKinds(issuer string) []tokenKind {
	return []tokenKind{
		{claviger.CallerOperator, "operator+jwt", typOperator, issuer + "/v1", operatorLife, claviger.RoleOwner, false},
		{claviger.CallerScoped, "scoped+jwt", typScoped, issuer + "/api/v1/embedded", scopedLife, claviger.RoleEndUser, true},
	}
}

func (a *Authority) kindByHeader(typ string) (tokenKind, bool) {
	for _, k := range a.kinds {
		if k.header == typ {
			return k, true
		}
	}
	return tokenKind{}, false
}

func (a *Authority) kindOf(kind claviger.CallerKind) tokenKind {
	for _, k := range a.kinds {
		if k.kind == kind {
			return k
		}
	}
	return tokenKind{}
}

// claims is the signed payload. Its order of fields is that of the bytes.
type claims struct {
	Issuer    string          `json:"iss"`
	Subject   string          `json:"sub"`
	Audience  string          `json:"aud"`
	ID        string          `json:"jti"`
	IssuedAt  int64           `json:"iat"`
	Expires   int64           `json:"exp"`
	Type      string          `json:"typ"`
	Actor     *actorClaim     `json:"act,omitempty"`
	Workspace *workspaceClaim `json:"io.airbyte.auth.workspace_scope,omitempty"`
}

type actorClaim struct {
	Subject string `json:"sub"`
}

type workspaceClaim struct {
	ID string `json:"workspaceId"` // a UUID
}

// checkJWT finds the caller behind a signed token. The header is read with our own
// strict reader before the library sees the token: it chooses among our kinds and
// our keys, and can ask for nothing else.
func (a *Authority) checkJWT(ctx context.Context, token string, now time.Time) (*verdict, error) {
	kind, key, err := a.readHeader(ctx, token, now)
	if err != nil {
		return nil, err
	}
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		return nil, refuse("malformed_token")
	}
	payload, err := jws.Verify(key.public())
	if err != nil {
		return nil, refuse("bad_signature")
	}
	c, err := readClaims(payload)
	if err != nil {
		return nil, refuse("malformed_claims")
	}
	if code := a.checkClaims(kind, c, now); code != "" {
		return nil, refuse(code)
	}
	return a.checkRow(ctx, kind, c, now)
}

func (a *Authority) readHeader(ctx context.Context, token string, now time.Time) (tokenKind, *signingKey, error) {
	head, _, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(head)
	if err != nil {
		return tokenKind{}, nil, refuse("malformed_token")
	}
	header, err := strictObject(raw, "alg", "kid", "typ")
	if err != nil || str(header, "alg") != string(jose.EdDSA) {
		return tokenKind{}, nil, refuse("malformed_token")
	}
	kind, ok := a.kindByHeader(str(header, "typ"))
	if !ok {
		return tokenKind{}, nil, refuse("unknown_token")
	}
	keys, err := a.ring.keys(ctx)
	if err != nil {
		return tokenKind{}, nil, err
	}
	key := keys.find(str(header, "kid"), now)
	if key == nil {
		return tokenKind{}, nil, refuse("unknown_signing_key")
	}
	return kind, key, nil
}

// readClaims reads a payload, which must be exactly what [Authority.sign] writes.
func readClaims(payload []byte) (claims, error) {
	m, err := strictObject(payload, "iss", "sub", "aud", "jti", "iat", "exp", "typ", "act", claimWorkspace)
	if err != nil {
		return claims{}, err
	}
	c := claims{
		Issuer: str(m, "iss"), Subject: str(m, "sub"), Audience: str(m, "aud"), ID: str(m, "jti"),
		IssuedAt: seconds(m, "iat"), Expires: seconds(m, "exp"), Type: str(m, "typ"),
	}
	if raw, ok := m["act"]; ok {
		act, err := strictObject(raw, "sub")
		if err != nil {
			return claims{}, err
		}
		c.Actor = &actorClaim{Subject: str(act, "sub")}
	}
	if raw, ok := m[claimWorkspace]; ok {
		ws, err := strictObject(raw, "workspaceId")
		if err != nil {
			return claims{}, err
		}
		c.Workspace = &workspaceClaim{ID: str(ws, "workspaceId")}
	}
	return c, nil
}

func (a *Authority) checkClaims(k tokenKind, c claims, now time.Time) (code string) {
	issued, expires := time.Unix(c.IssuedAt, 0), time.Unix(c.Expires, 0)
	switch {
	case c.Type != k.typ:
		return "wrong_token_kind"
	case c.Issuer != a.issuer:
		return "wrong_issuer"
	case c.Audience != k.audience:
		return "wrong_audience"
	case c.IssuedAt <= 0 || c.Expires <= c.IssuedAt || expires.Sub(issued) > k.life:
		return "lifetime_too_long"
	case issued.After(now.Add(maxSkew)):
		return "issued_in_the_future"
	case !now.Before(expires):
		return "expired"
	case !claviger.ValidID(claviger.PrefixToken, c.ID):
		return "malformed_claims"
	case k.bound != (c.Workspace != nil):
		return "malformed_claims"
	}
	return ""
}

// checkRow asks the database, which has the last word: revoked or not, and whose.
func (a *Authority) checkRow(ctx context.Context, k tokenKind, c claims, now time.Time) (*verdict, error) {
	row, err := a.db.TokenByID(ctx, claviger.TokenID(c.ID))
	if errors.Is(err, store.ErrNotFound) {
		return nil, refuse("unknown_token")
	}
	if err != nil {
		return nil, err
	}
	no := func(code string) (*verdict, error) {
		return nil, &refusedToken{code: code, org: row.Organization, actor: row.Subject}
	}
	switch {
	case row.Kind != k.kind || row.Subject != c.Subject || k.bound != (row.Workspace != ""):
		return no("wrong_token_kind")
	case !row.RevokedAt.IsZero():
		return no("revoked")
	case !now.Before(row.ExpiresAt):
		return no("expired")
	}
	if k.bound {
		uuid, err := claviger.UUID(claviger.PrefixWorkspace, string(row.Workspace))
		if err != nil || uuid != c.Workspace.ID {
			return no("wrong_workspace")
		}
	}
	org, err := a.db.OrganizationByID(ctx, row.Organization)
	if err != nil {
		return nil, err
	}
	return &verdict{
		caller: a.caller(k, row, org),
		ids:    []string{string(row.ID), string(row.Organization), row.Subject, row.MintedBy, string(row.Workspace)},
		until:  row.ExpiresAt,
	}, nil
}

func (a *Authority) caller(k tokenKind, row claviger.MintedToken, org claviger.Organization) claviger.Caller {
	return claviger.Caller{
		Kind: k.kind, ID: row.Subject, Role: k.role, Permissions: k.role.Permissions(),
		Scope:         claviger.Authenticated(row.Organization, row.Workspace),
		InstanceAdmin: org.Instance && k.kind == claviger.CallerOperator,
		Token:         row.ID, ExpiresAt: row.ExpiresAt,
	}
}

// sign makes the compact JWS of a row.
func (a *Authority) sign(ctx context.Context, k tokenKind, row claviger.MintedToken) (claviger.Secret, error) {
	keys, err := a.ring.keys(ctx)
	if err != nil {
		return claviger.Secret{}, err
	}
	key := keys.signer(a.now())
	if key == nil {
		return claviger.Secret{}, errors.New("authn: there is no signing key")
	}
	c := claims{
		Issuer: a.issuer, Subject: row.Subject, Audience: k.audience, ID: string(row.ID),
		IssuedAt: row.CreatedAt.Unix(), Expires: row.ExpiresAt.Unix(), Type: k.typ,
	}
	if k.bound {
		uuid, err := claviger.UUID(claviger.PrefixWorkspace, string(row.Workspace))
		if err != nil {
			return claviger.Secret{}, err
		}
		c.Workspace, c.Actor = &workspaceClaim{uuid}, &actorClaim{row.MintedBy}
	}
	var payload bytes.Buffer
	enc := json.NewEncoder(&payload)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(c); err != nil {
		return claviger.Secret{}, err
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: key.private, KeyID: key.ID}},
		(&jose.SignerOptions{}).WithType(jose.ContentType(k.header)),
	)
	if err != nil {
		return claviger.Secret{}, err
	}
	jws, err := signer.Sign(bytes.TrimSpace(payload.Bytes()))
	if err != nil {
		return claviger.Secret{}, err
	}
	text, err := jws.CompactSerialize()
	return claviger.NewSecretString(text), err
}
