package seal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/aesgcm"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"claviger"
)

// ErrOpen is the one answer for every value that does not open: moved, altered,
// cut, of an unknown format or made under an unknown key.
var ErrOpen = claviger.Errorf(claviger.KindInternal, "aad_mismatch",
	"A stored value does not belong where it was found, or was altered. It is not used; store it again.")

// ErrExhausted is answered by Seal when the primary key has sealed as many values
// as is safe with random nonces. Rotate the keyset.
var ErrExhausted = claviger.Errorf(claviger.KindUnavailable, "key_exhausted",
	"The organization's key has sealed its safe number of values. Rotate the keys.")

const (
	// maxSeals is half the 2^32 invocations that NIST SP 800-38D (section 8.3)
	// allows one key with random 96-bit nonces.
	maxSeals = 1 << 31
	// RotateSeals is after how many values a key should be replaced. Nodes count by
	// themselves and tell one another now and then: the other half is for what was
	// sealed meanwhile.
	RotateSeals = maxSeals / 2
	// tinkPrefix starts each ciphertext of a tink key with an id, which follows in
	// four bytes.
	tinkPrefix = 0x01
	headerSize = 6 // formatV1, tinkPrefix, key id
)

// Keyset is one organization's keys, or the instance's, opened: a primary, which
// seals, and older ones, which still open. It never changes and may be shared;
// Rotate and Retire answer new ones, which must be stored before they are used.
type Keyset struct {
	handle    *keyset.Handle
	primitive tink.AEAD // made once: building it costs a hundred times an Open
	primary   uint32
	seals     atomic.Int64 // values that the primary has sealed, as far as is known here
	untold    atomic.Int64 // those of them that TakeSeals has not answered
}

// NewKeyset makes a keyset of one random key. It fails only if random does; a
// failing source never yields a weak key.
func NewKeyset(random io.Reader) (*Keyset, error) {
	return addPrimary(keyset.NewManager(), random)
}

// OpenKeyset unwraps a keyset that [Keyset.Wrap] made for the same organization;
// the instance's has an empty organization. A wrong master key, another
// organization's keyset and an altered one are all [ErrWrongMasterKey].
func OpenKeyset(ctx context.Context, kek KEK, org claviger.OrganizationID, wrapped []byte) (*Keyset, error) {
	if len(wrapped) < 1 || wrapped[0] != formatV1 {
		return nil, ErrWrongMasterKey
	}
	plain, err := kek.Unwrap(ctx, wrapped[1:], keysetAAD(org))
	if err != nil {
		if errors.Is(err, ErrWrongMasterKey) {
			return nil, ErrWrongMasterKey
		}
		return nil, fmt.Errorf("seal: unwrap keyset: %w", err)
	}
	defer clear(plain)
	handle, err := insecurecleartextkeyset.Read(keyset.NewBinaryReader(bytes.NewReader(plain)))
	if err != nil {
		return nil, ErrWrongMasterKey
	}
	return fromHandle(handle)
}

// Wrap encrypts the keyset with the master key, bound to its organization.
func (k *Keyset) Wrap(ctx context.Context, kek KEK, org claviger.OrganizationID) ([]byte, error) {
	var plain bytes.Buffer
	if err := insecurecleartextkeyset.Write(k.handle, keyset.NewBinaryWriter(&plain)); err != nil {
		return nil, fmt.Errorf("seal: encode keyset: %w", err)
	}
	defer clear(plain.Bytes())
	wrapped, err := kek.Wrap(ctx, plain.Bytes(), keysetAAD(org))
	if err != nil {
		return nil, fmt.Errorf("seal: wrap keyset: %w", err)
	}
	return append([]byte{formatV1}, wrapped...), nil
}

func keysetAAD(org claviger.OrganizationID) []byte {
	return appendBinding(nil, formatV1, claviger.Binding{Purpose: "keyset", Organization: org})
}

// Rotate answers a keyset with a new random primary beside all keys of k. Store it,
// wrapped, before anything is sealed with it.
func (k *Keyset) Rotate(random io.Reader) (*Keyset, error) {
	return addPrimary(keyset.NewManagerFromHandle(k.handle), random)
}

// Retire answers a keyset with the primary of k alone. Values of the others no
// longer open, so first seal them anew: [KeyID] tells which they are.
func (k *Keyset) Retire() (*Keyset, error) {
	m := keyset.NewManagerFromHandle(k.handle)
	for i := range k.handle.Len() {
		entry, err := k.handle.Entry(i)
		if err != nil {
			return nil, fmt.Errorf("seal: retire: %w", err)
		}
		if entry.IsPrimary() {
			continue
		}
		if err := m.Delete(entry.KeyID()); err != nil {
			return nil, fmt.Errorf("seal: retire: %w", err)
		}
	}
	handle, err := m.Handle()
	if err != nil {
		return nil, fmt.Errorf("seal: retire: %w", err)
	}
	next, err := fromHandle(handle)
	if err == nil {
		next.seals.Store(k.seals.Load())
	}
	return next, err
}

// addPrimary adds one random key to m and makes it the primary. Both the key and
// its id come from random, so that its failure is an error and not a weak key.
func addPrimary(m *keyset.Manager, random io.Reader) (*Keyset, error) {
	var material [36]byte
	defer clear(material[:])
	if _, err := io.ReadFull(random, material[:]); err != nil {
		return nil, fmt.Errorf("seal: no randomness: %w", err)
	}
	id := binary.BigEndian.Uint32(material[32:])
	if id == 0 {
		return nil, errors.New("seal: no randomness: key id is zero")
	}
	key, err := aesgcmKey(material[:32], aesgcm.VariantTink, id)
	if err != nil {
		return nil, err
	}
	// A repeated id means a source that repeats itself; it is refused here.
	if _, err := m.AddKey(key); err != nil {
		return nil, fmt.Errorf("seal: add key: %w", err)
	}
	if err := m.SetPrimary(id); err != nil {
		return nil, fmt.Errorf("seal: set primary: %w", err)
	}
	handle, err := m.Handle()
	if err != nil {
		return nil, fmt.Errorf("seal: keyset: %w", err)
	}
	return fromHandle(handle)
}

func fromHandle(handle *keyset.Handle) (*Keyset, error) {
	primary, err := handle.Primary()
	if err != nil {
		return nil, fmt.Errorf("seal: keyset: %w", err)
	}
	primitive, err := aead.New(handle)
	if err != nil {
		return nil, fmt.Errorf("seal: keyset: %w", err)
	}
	return &Keyset{handle: handle, primitive: primitive, primary: primary.KeyID()}, nil
}

// PrimaryID answers the id of the key that seals.
func (k *Keyset) PrimaryID() uint32 { return k.primary }

// Len answers the number of keys, the primary included.
func (k *Keyset) Len() int { return k.handle.Len() }

// Has reports whether the keyset holds the key. A sealed value whose [KeyID] is
// absent was made by a node that rotated: read the stored keyset again.
func (k *Keyset) Has(id uint32) bool {
	for i := range k.handle.Len() {
		if entry, err := k.handle.Entry(i); err == nil && entry.KeyID() == id {
			return true
		}
	}
	return false
}

// TakeSeals answers how many values the keyset has sealed since it was last asked: what
// is to be added to the count that all processes share.
func (k *Keyset) TakeSeals() int64 { return k.untold.Swap(0) }

// Sealed tells the keyset how many values its primary has sealed in all processes. Seal
// stops at the limit of them all.
func (k *Keyset) Sealed(total int64) { k.seals.Store(total + k.untold.Load()) }

// KeyID answers which key sealed s, without opening it: what differs from
// PrimaryID is what a rotation still has to seal anew. It is not authenticated.
func KeyID(s claviger.Sealed) (uint32, error) {
	if len(s) < headerSize || s[0] != formatV1 || s[1] != tinkPrefix {
		return 0, ErrOpen
	}
	return binary.BigEndian.Uint32(s[2:headerSize]), nil
}

// Seal encrypts plaintext for the place b. Its nonce is random; if the system's
// source of randomness fails, the program aborts rather than repeat one.
//
//	formatV1 | 0x01 | key id (4) | nonce (12) | ciphertext | tag (16)
func (k *Keyset) Seal(b claviger.Binding, plaintext []byte) (claviger.Sealed, error) {
	if k.seals.Add(1) > maxSeals {
		return nil, ErrExhausted
	}
	k.untold.Add(1)
	var space [256]byte
	ciphertext, err := k.primitive.Encrypt(plaintext, appendBinding(space[:0], formatV1, b))
	if err != nil {
		return nil, fmt.Errorf("seal: encrypt: %w", err)
	}
	return append(claviger.Sealed{formatV1}, ciphertext...), nil
}

// Open decrypts what Seal made for the same place with any key of the keyset.
// Every failure is [ErrOpen].
func (k *Keyset) Open(b claviger.Binding, s claviger.Sealed) ([]byte, error) {
	if len(s) < headerSize || s[0] != formatV1 {
		return nil, ErrOpen
	}
	var space [256]byte
	plain, err := k.primitive.Decrypt(s[1:], appendBinding(space[:0], formatV1, b))
	if err != nil {
		return nil, ErrOpen
	}
	return plain, nil
}
