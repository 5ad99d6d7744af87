package mcp

import (
	"encoding/json"
	"strconv"
	"strings"

	"claviger"
	"claviger/api"
	"claviger/internal/broker"
)

// The arguments of the tools. Their names are the schema's, compared exactly.

type helpIn struct {
	Topic     string `json:"topic" jsonschema:"connectedSystemUi, section, workflow, authentication, or 'authentication catalog'"`
	SystemKey string `json:"systemKey,omitempty" jsonschema:"with connectedSystemUi: the system whose page and missing values to name"`
}

type readIn struct {
	SystemKey string `json:"systemKey" jsonschema:"the system's key, such as example-crm"`
	Section   string `json:"section" jsonschema:"system, system.<member>, dataSources, dataSources.<key> or dataSources.<key>.<member>"`
	Create    bool   `json:"create,omitempty" jsonschema:"begin a draft of a system that does not exist yet"`
}

type patchIn struct {
	SystemKey string `json:"systemKey" jsonschema:"the system's key"`
	Section   string `json:"section" jsonschema:"the section that was read"`
	Patch     any    `json:"patch" jsonschema:"an array is a JSON Patch (RFC 6902) with paths that begin in the section, anything else a merge patch (RFC 7396); never the value of a secret"`
	Version   string `json:"version" jsonschema:"the version that read_section or patch_section answered for this section in this session"`
	Intent    string `json:"intent" jsonschema:"why, in a sentence; shown when the draft is uploaded"`
}

type systemIn struct {
	SystemKey string `json:"systemKey" jsonschema:"the system's key"`
}

type repairIn struct {
	SystemKey string `json:"systemKey" jsonschema:"the system's key"`
	Auth      string `json:"auth,omitempty" jsonschema:"the method that the default api slot is to have: apikey, bearerToken, basic, queryParam, oauth2, aad or none"`
	Slots     bool   `json:"slots,omitempty" jsonschema:"add the slots for webhooks and syncs that are not there"`
}

type uploadIn struct {
	SystemKey              string `json:"systemKey" jsonschema:"the system's key"`
	ConfirmSecurityChanges bool   `json:"confirmSecurityChanges,omitempty" jsonschema:"true once a person has agreed to the security-relevant changes that upload listed"`
}

// The answers of the tools.

type helpOut struct {
	Topic           string     `json:"topic"`
	Text            string     `json:"text"`
	AssignSecretsAt string     `json:"assignSecretsAt,omitempty" jsonschema:"the page where a person gives the values"`
	Slots           []slotNeed `json:"slots,omitempty"`
}

type readOut struct {
	SystemKey       string `json:"systemKey"`
	Section         string `json:"section"`
	Text            string `json:"text" jsonschema:"the section as JSON; null if it is absent"`
	Version         string `json:"version" jsonschema:"what a patch of this section must show, in this session"`
	StoredVersion   int    `json:"storedVersion" jsonschema:"the uploaded version that the draft began from; 0: none"`
	Draft           bool   `json:"draft" jsonschema:"whether the draft was changed"`
	AssignSecretsAt string `json:"assignSecretsAt,omitempty" jsonschema:"the page where a person gives the values of secrets"`
}

type patchOut struct {
	readOut
	Valid  bool              `json:"valid"`
	Faults []api.SystemFault `json:"faults"`
}

type validateOut struct {
	SystemKey string            `json:"systemKey"`
	Valid     bool              `json:"valid"`
	Draft     bool              `json:"draft"`
	Faults    []api.SystemFault `json:"faults"`
}

type repairOut struct {
	validateOut
	Diff string `json:"diff" jsonschema:"what the repair changed in the draft; empty if nothing"`
}

type uploadOut struct {
	SystemKey         string             `json:"systemKey"`
	Uploaded          bool               `json:"uploaded"`
	NeedsConfirmation bool               `json:"needsConfirmation" jsonschema:"nothing was uploaded: show the security-relevant changes to a person first"`
	Version           int                `json:"version" jsonschema:"the stored version"`
	Created           bool               `json:"created"`
	Changes           []api.SystemChange `json:"changes"`
	MoreChanges       int                `json:"moreChanges,omitempty" jsonschema:"how many are not listed"`
	Intents           []intent           `json:"intents"`
	Dropped           []string           `json:"dropped" jsonschema:"references whose stored value was given for another destination and is to be given again"`
	Warnings          []api.SystemFault  `json:"warnings"`
	Slots             []slotNeed         `json:"slots"`
	AssignSecretsAt   string             `json:"assignSecretsAt"`
}

// slotNeed is which values a slot needs, and never one.
type slotNeed struct {
	Slot    string       `json:"slot"`
	Usage   string       `json:"usage"`
	Method  string       `json:"method,omitempty"`
	Secrets []secretNeed `json:"secrets"`
}

type secretNeed struct {
	Name      string `json:"name"`
	Reference string `json:"reference"`
	HasValue  bool   `json:"hasValue"`
}

func slotNeeds(slots []broker.SlotState) []slotNeed {
	out := make([]slotNeed, 0, len(slots))
	for _, s := range slots {
		need := slotNeed{Slot: s.Slot.Key, Usage: string(s.Slot.Usage), Method: s.Slot.Method, Secrets: []secretNeed{}}
		for _, secret := range s.Secrets {
			need.Secrets = append(need.Secrets, secretNeed{Name: secret.Name, Reference: claviger.SecretScheme + secret.Path, HasValue: secret.HasValue})
		}
		out = append(out, need)
	}
	return out
}

// faults names data sources by their keys, as sections do.
func faults(list []broker.SystemFault, keys []string) []api.SystemFault {
	out := make([]api.SystemFault, 0, len(list))
	for _, f := range list {
		file := f.File
		if n, ok := strings.CutPrefix(file, "dataSources."); ok {
			if i, err := strconv.Atoi(n); err == nil && i < len(keys) {
				file = "dataSources." + keys[i]
			}
		}
		out = append(out, api.SystemFault{
			File: file, Line: f.Line, Column: f.Column, Pointer: f.Pointer, Code: f.Code, Message: f.Message, Hint: f.Hint, Severity: string(f.Severity), Repair: f.Repair,
		})
	}
	return out
}

// maxChanges bounds the list of changes. Those that matter for security come first.
const maxChanges = 200

func changes(list []broker.SystemChange) (out []api.SystemChange, more int, security bool) {
	out = []api.SystemChange{}
	for _, wanted := range []bool{true, false} {
		for _, c := range list {
			if c.Security != wanted {
				continue
			}
			security = security || c.Security
			if len(out) == maxChanges {
				more++
				continue
			}
			out = append(out, api.SystemChange{Path: c.Path, Old: c.Old, New: c.New, Security: c.Security, Reason: c.Reason})
		}
	}
	return out, more, security
}

func references(paths []string) []string {
	out := make([]string, 0, len(paths))
	for _, p := range paths {
		out = append(out, claviger.SecretScheme+p)
	}
	return out
}

// asked is what the ledger may know of a call's arguments: a key and a section, if they
// have the form of one.
func asked(arguments json.RawMessage) (systemKey, section string) {
	var in struct {
		SystemKey string `json:"systemKey"`
		Section   string `json:"section"`
	}
	_ = json.Unmarshal(arguments, &in) // what does not fit, the schema refuses
	if len(in.SystemKey) <= maxKey && keyForm.MatchString(in.SystemKey) {
		systemKey = in.SystemKey
	}
	if len(in.Section) <= 2*maxKey+len("dataSources.") && sectionForm.MatchString(in.Section) {
		section = in.Section
	}
	return systemKey, section
}
