package seal

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead/aesgcm"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/secretdata"
	"github.com/tink-crypto/tink-go/v2/tink"

	"claviger"
)

// ErrWrongMasterKey says that the configured master key does not open what another
// one closed. It stops the start of the program.
var ErrWrongMasterKey = claviger.Errorf(claviger.KindInternal, "wrong_master_key",
	"The master key does not open the stored keys. Configure the key that this database was created with.")

// KEK is the master key: it wraps and unwraps keysets and never leaves its home.
//
// Both methods authenticate aad. Unwrap answers [ErrWrongMasterKey], possibly
// wrapped, if the bytes were not made by this key with this aad; any other error
// means that the key could not be asked. ID tells a key from others, and nothing else of
// it; it is never empty.
type KEK interface {
	Wrap(ctx context.Context, plaintext, aad []byte) ([]byte, error)
	Unwrap(ctx context.Context, wrapped, aad []byte) ([]byte, error)
	ID() string
}

// Ring answers a master key that wraps with current, whose ID it has, and unwraps what
// any of the others wrapped too, as the replacement of a master key needs.
func Ring(current KEK, others ...KEK) KEK { return ring{current, others} }

type ring struct {
	KEK
	others []KEK
}

// Unwrap implements [KEK].
func (r ring) Unwrap(ctx context.Context, wrapped, aad []byte) ([]byte, error) {
	plain, err := r.KEK.Unwrap(ctx, wrapped, aad)
	for _, other := range r.others {
		if !errors.Is(err, ErrWrongMasterKey) {
			break
		}
		plain, err = other.Unwrap(ctx, wrapped, aad)
	}
	return plain, err
}

// masterKeySize is the size of a local master key in bytes.
const masterKeySize = 32

type localKEK struct {
	primitive tink.AEAD
	id        string
}

// LocalKEK makes a master key of 32 secret bytes that the process itself holds. The
// wrapping key is derived from them, so that the same bytes may feed [Derive] and
// [NewChain] under labels of their own.
func LocalKEK(secret claviger.Secret) (KEK, error) {
	var size int
	secret.Use(func(b []byte) { size = len(b) })
	if size != masterKeySize {
		return nil, claviger.Invalid("masterKey", "invalid_format", "A master key has %d bytes, this one has %d.", masterKeySize, size)
	}
	derived, err := Derive(secret, "claviger/kek/v1")
	if err != nil {
		return nil, err
	}
	var kek localKEK
	derived.Use(func(b []byte) { kek.primitive, err = newAESGCM(b, aesgcm.VariantNoPrefix, 0) })
	if err != nil {
		return nil, err
	}
	name, err := Derive(secret, "claviger/kek-id/v1")
	if err != nil {
		return nil, err
	}
	name.Use(func(b []byte) { kek.id = hex.EncodeToString(b[:8]) })
	return &kek, nil
}

// ID implements [KEK].
func (k *localKEK) ID() string { return k.id }

// Wrap implements [KEK].
func (k *localKEK) Wrap(_ context.Context, plaintext, aad []byte) ([]byte, error) {
	return k.primitive.Encrypt(plaintext, aad)
}

// Unwrap implements [KEK].
func (k *localKEK) Unwrap(_ context.Context, wrapped, aad []byte) ([]byte, error) {
	plain, err := k.primitive.Decrypt(wrapped, aad)
	if err != nil {
		return nil, ErrWrongMasterKey
	}
	return plain, nil
}

// aesgcmKey makes a 256-bit AES-GCM key (NIST SP 800-38D; 96-bit nonce, 128-bit tag).
func aesgcmKey(raw []byte, variant aesgcm.Variant, id uint32) (*aesgcm.Key, error) {
	params, err := aesgcm.NewParameters(aesgcm.ParametersOpts{
		KeySizeInBytes: 32, IVSizeInBytes: 12, TagSizeInBytes: 16, Variant: variant,
	})
	if err != nil {
		return nil, fmt.Errorf("seal: parameters: %w", err)
	}
	key, err := aesgcm.NewKey(secretdata.NewBytesFromData(raw, insecuresecretdataaccess.Token{}), id, params)
	if err != nil {
		return nil, fmt.Errorf("seal: key: %w", err)
	}
	return key, nil
}

func newAESGCM(raw []byte, variant aesgcm.Variant, id uint32) (tink.AEAD, error) {
	key, err := aesgcmKey(raw, variant, id)
	if err != nil {
		return nil, err
	}
	return aesgcm.NewAEAD(key)
}
