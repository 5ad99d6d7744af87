package claviger

import (
	"encoding/hex"
	"io"
	"time"
)

type (
	// SystemID names a connected system: sys_...
	SystemID string
	// HookID is the part of a webhook address that nobody can guess: whk_ and 26
	// characters, all 128 bits of them random.
	HookID string
)

// The prefixes of what belongs to connected systems.
const (
	PrefixSystem = "sys"
	PrefixHook   = "whk"
)

// NewHookID makes the unguessable part of a webhook address. It fails only if random
// does. Unlike [NewID] it holds no time: whoever knows when a system was made knows
// nothing of its address.
func NewHookID(random io.Reader) (HookID, error) {
	var u [16]byte
	if _, err := io.ReadFull(random, u[:]); err != nil {
		return "", err
	}
	return HookID(encodeID(PrefixHook, u)), nil
}

// System is a connected system: an uploaded manifest, by its newest version. Its slots
// are [Slot]s beside it.
type System struct {
	ID           SystemID
	Organization OrganizationID
	Key          string // unique in the organization; the key of its generated connector too
	Workspace    WorkspaceID
	Hook         HookID
	DisplayName  string
	Type         string // openapi, mcp, custom
	Enabled      bool
	Version      int      // of the manifest: 1, 2, ...
	Connector    int      // version of the generated connector that the manifest became
	Hash         Contract // of the manifest
	Owner        string   // who uploaded it first
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// Resource answers the system as the object of a verb. It belongs to the organization:
// a token for one workspace does not change it.
func (s *System) Resource() Resource {
	return Resource{Type: "system", ID: s.Key, Organization: s.Organization, Connector: s.Key}
}

// Contract is the SHA-256 of a manifest in its canonical form. A certificate is signed
// over it, so that any change of the manifest ends the certificate.
type Contract [32]byte

// String answers the hash as a manifest writes it: "sha256:" and 64 hexadecimal digits.
func (c Contract) String() string { return "sha256:" + hex.EncodeToString(c[:]) }

// Manifest is one version of a system's documents, in canonical JSON.
type Manifest struct {
	System    SystemID
	Version   int
	Hash      Contract
	Document  []byte // {"system": ..., "dataSources": [...]}
	Uploader  string
	CreatedAt time.Time
}

// SlotAuth is what stands behind a slot.
type SlotAuth string

// The kinds of slot.
const (
	SlotCredential  SlotAuth = "credential"  // a connection of its own
	SlotAPIProvider SlotAuth = "apiProvider" // a provider that the organization manages, by its key
	SlotNone        SlotAuth = "none"        // calls without a credential
)

// Slot is one place of a system for a credential, and what it may be used for. It is
// realised as a connection with that usage; no usage ever borrows another's.
type Slot struct {
	Key        string
	Usage      Usage
	Default    bool // the one of its usage that is taken where none is named
	Auth       SlotAuth
	Method     string            // as the manifest calls it: apikey, oauth2, ...
	Provider   string            // of SlotAPIProvider
	Connection ConnectionID      // its connection; empty for SlotAPIProvider
	Paths      map[string]string // kv:// path by the name of the credential's field
	// Awaiting is the paths whose value was given for another destination than the slot's
	// present one. The slot is of no use before each of them is given a value again.
	Awaiting []string
}

// Names reports whether one of the slot's fields refers to the path.
func (s *Slot) Names(path string) bool {
	for _, p := range s.Paths {
		if p == path {
			return true
		}
	}
	return false
}

// Rank orders the slots of one usage where none is named: the one marked as default
// before the one keyed "default" before the others.
func (s *Slot) Rank() int {
	switch {
	case s.Default:
		return 2
	case s.Key == "default":
		return 1
	}
	return 0
}
