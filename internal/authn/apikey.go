package authn

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"math/big"
	"time"

	"claviger"
	"claviger/internal/store"
)

const (
	keyPrefix   = "clv_key_"
	keyRandom   = 43 // base 62 digits of 256 bits
	keyChecksum = 6  // base 62 digits of a CRC-32
	// maxToken bounds every token before anything of it is read.
	maxToken = 8 << 10
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// NewAPIKey makes the value of an API key, "clv_key_" + 43 random characters + 6 of
// checksum, and what may be kept of it: its SHA-256 and its last four characters.
// It fails only if random does.
func NewAPIKey(random io.Reader) (token claviger.Secret, hash []byte, hint string, err error) {
	text, hash, err := newToken(keyPrefix, random)
	if err != nil {
		return claviger.Secret{}, nil, "", err
	}
	return claviger.NewSecretString(text), hash, text[len(text)-4:], nil
}

// NewClientSecret makes the secret of an application, 256 random bits as
// "clv_app_" + 43 characters + 6 of checksum, and its SHA-256.
func NewClientSecret(random io.Reader) (secret claviger.Secret, hash []byte, err error) {
	text, hash, err := newToken("clv_app_", random)
	return claviger.NewSecretString(text), hash, err
}

// HashToken is the SHA-256 under which a token is kept and found. The tokens are
// random enough (256 bits) that a slow hash would add nothing.
func HashToken(token string) []byte {
	h := sha256.Sum256([]byte(token))
	return h[:]
}

func checksum(s string) string {
	return digits62(new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE([]byte(s)))), keyChecksum)
}

func digits62(n *big.Int, width int) string {
	out := make([]byte, width)
	base, digit := big.NewInt(62), new(big.Int)
	for i := width - 1; i >= 0; i-- {
		n.DivMod(n, base, digit)
		out[i] = base62[digit.Int64()]
	}
	return string(out)
}

// checkKey finds the caller behind an API key.
func (a *Authority) checkKey(ctx context.Context, token string, hash []byte, now time.Time) (*verdict, error) {
	if !wellFormed(keyPrefix, token) {
		return nil, refuse("malformed_key")
	}
	key, err := a.db.APIKeyByHash(ctx, hash)
	if errors.Is(err, store.ErrNotFound) {
		return nil, refuse("unknown_key")
	}
	if err != nil {
		return nil, err
	}
	no := func(code string) (*verdict, error) {
		return nil, &refusedToken{code: code, org: key.Organization, actor: string(key.ID)}
	}
	switch {
	case subtle.ConstantTimeCompare(key.Hash, hash) != 1:
		return no("unknown_key")
	case !key.RevokedAt.IsZero():
		return no("revoked")
	case !key.ExpiresAt.IsZero() && !now.Before(key.ExpiresAt):
		return no("expired")
	}
	org, err := a.db.OrganizationByID(ctx, key.Organization)
	if err != nil {
		return nil, err
	}
	// A key never carries more than the person behind it may do now; an application's
	// key is bounded by what an owner may do.
	role := claviger.RoleOwner
	ids := []string{hex.EncodeToString(hash), string(key.ID), string(key.Organization), key.CreatedBy}
	if key.User != "" {
		user, err := a.db.UserByID(ctx, key.User)
		if errors.Is(err, store.ErrNotFound) || err == nil && (user.Disabled || user.Organization != key.Organization) {
			return no("user_disabled")
		}
		if err != nil {
			return nil, err
		}
		role = user.Role
		ids = append(ids, string(user.ID))
	}
	if key.Workspace != "" {
		ids = append(ids, string(key.Workspace))
	}
	return &verdict{
		caller: claviger.Caller{
			Kind: claviger.CallerAPIKey, ID: string(key.ID), User: key.User, Role: role,
			Scope:         claviger.Authenticated(key.Organization, key.Workspace),
			Permissions:   key.Permissions.Both(role.Permissions()),
			InstanceAdmin: org.Instance && role == claviger.RoleOwner && key.Workspace == "",
			ExpiresAt:     key.ExpiresAt,
		},
		addresses: key.AllowedIPs, ids: ids, until: key.ExpiresAt,
	}, nil
}
