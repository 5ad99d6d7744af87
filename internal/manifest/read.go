package manifest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"claviger"
	"claviger/internal/document"
)

// The bounds of one system: its data sources, and the bytes of all documents together.
const (
	maxDataSources = 200
	maxTotal       = 4 << 20
)

// Part is the text of one document. Name is what faults call it, and its ending
// decides the format: .json, .yaml or .yml; any other by the first character.
type Part struct {
	Name string
	Data []byte
}

// file is a part that was read: its text and its tree, keys sorted.
type file struct {
	name string
	data []byte
	root *document.Node // nil if it is not well-formed
}

// Bundle is a system with its data sources, as they were read. Until [Validate]
// finds no error, the typed documents hold what could be made of the text.
type Bundle struct {
	System      System
	DataSources []DataSource // in the order of their keys

	folder string
	system file
	data   []file // beside DataSources
	env    *envTemplate
	found  []Fault // in the folder, beside those of the texts
	faults []Fault // of reading
}

// Load reads integration/<systemKey>/ below fsys: the system, its data sources and
// env.template. Every other JSON or YAML file in the folder counts as a data source
// unless the system's dataSources names keys or files. It fails with
// KindNotFound if there is no system document, else with what fsys says; what is
// wrong with the texts is for [Validate].
func Load(fsys fs.FS, systemKey string) (*Bundle, error) {
	folder := path.Join("integration", systemKey)
	entries, err := fs.ReadDir(fsys, folder)
	if errors.Is(err, fs.ErrNotExist) || !fs.ValidPath(folder) || strings.Contains(systemKey, "/") {
		return nil, claviger.Errorf(claviger.KindNotFound, "", "There is no folder integration/%s here.", systemKey)
	}
	if err != nil {
		return nil, err
	}
	b := &Bundle{folder: folder}
	var system *Part
	var others []Part
	for _, e := range entries {
		name := e.Name()
		stem := strings.TrimSuffix(name, path.Ext(name))
		if e.IsDir() || name != envName && !documentName(name) {
			continue
		}
		if stem != systemKey+"-system" && slices.Contains(notDataSources, strings.TrimPrefix(stem, systemKey+"-")) {
			continue
		}
		part, err := readPart(fsys, path.Join(folder, name))
		if err != nil {
			return nil, err
		}
		switch {
		case name == envName:
			b.env = parseEnv(part)
		case stem != systemKey+"-system":
			others = append(others, part)
		case system != nil:
			b.found = append(b.found, Fault{File: part.Name, Line: 1, Column: 1, Code: CodeDuplicate, Severity: Error, Message: "the system has two documents", Hint: "keep one of them"})
		default:
			system = &part
		}
	}
	if system == nil {
		return nil, claviger.Errorf(claviger.KindNotFound, "", "There is no %s/%s-system.json or .yaml here.", folder, systemKey)
	}
	b.read(*system, others)
	return b, nil
}

// notDataSources are files of other tools that live in the same folder.
var notDataSources = []string{"deploy", "application", "variables", "rbac", "package", "package-lock"}

func documentName(name string) bool {
	return slices.Contains([]string{".json", ".yaml", ".yml"}, path.Ext(name)) && !strings.HasPrefix(name, ".")
}

// readPart reads a file, and one byte more than a document may have.
func readPart(fsys fs.FS, name string) (Part, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return Part{}, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, document.MaxBytes+1))
	return Part{Name: name, Data: data}, err
}

// Parse reads a system and its data sources from texts, as an upload brings them.
// env.template is not part of an upload.
func Parse(system Part, dataSources []Part) *Bundle {
	b := &Bundle{}
	b.read(system, dataSources)
	return b
}

func (b *Bundle) read(system Part, others []Part) {
	b.system = b.readFile(system)
	_ = decode(b.system.root, &b.System) // what does not fit, the schema tells with its place
	if len(others) > maxDataSources {
		b.faults = append(b.faults, Fault{File: system.Name, Line: 1, Column: 1, Code: CodeLimit, Severity: Error, Message: fmt.Sprintf("the system has more than %d data sources", maxDataSources)})
		others = others[:maxDataSources]
	}
	total := len(system.Data)
	for _, part := range others {
		total += len(part.Data)
	}
	if total > maxTotal {
		b.faults = append(b.faults, Fault{File: system.Name, Line: 1, Column: 1, Code: CodeLimit, Severity: Error, Message: fmt.Sprintf("the documents have more than %d MiB together", maxTotal>>20)})
	}
	type pair struct {
		file file
		data DataSource
	}
	var read []pair
	for _, part := range others {
		x := pair{file: b.readFile(part)}
		_ = decode(x.file.root, &x.data)
		if b.folder == "" || b.System.lists(x.data.Key, part.Name) {
			read = append(read, x)
		}
	}
	slices.SortStableFunc(read, func(a, b pair) int { return strings.Compare(a.data.Key, b.data.Key) })
	for _, x := range read {
		b.data, b.DataSources = append(b.data, x.file), append(b.DataSources, x.data)
	}
	b.listByKey()
}

// listByKey lets the system's dataSources name keys where they name files: what a file is
// called stays in its folder, and neither an upload nor the hash of a manifest has it.
func (b *Bundle) listByKey() {
	for i, name := range b.System.DataSources {
		at := slices.IndexFunc(b.data, func(f file) bool { return f.named(name) })
		if b.folder == "" || at < 0 || b.DataSources[at].Key == "" || slices.ContainsFunc(b.DataSources, func(d DataSource) bool { return d.Key == name }) {
			continue
		}
		b.System.DataSources[i] = b.DataSources[at].Key
		b.system.root.Get("dataSources").Items[i].Text = b.DataSources[at].Key
	}
}

// named reports whether a list of data sources means the file by its name, with or
// without the ending.
func (f *file) named(entry string) bool {
	base := path.Base(f.name)
	return entry == base || entry == strings.TrimSuffix(base, path.Ext(base))
}

// readFile reads a text; a fault of it is kept.
func (b *Bundle) readFile(part Part) file {
	f := file{name: part.Name, data: part.Data}
	root, fault := document.Read(part.Name, part.Data)
	if fault != nil {
		b.faults = append(b.faults, Fault{File: part.Name, Line: fault.Line, Column: fault.Column, Code: fault.Code, Message: fault.Message, Hint: fault.Hint, Severity: Error})
		return f
	}
	root.Sort()
	f.root = root
	return f
}

// lists reports whether a file belongs to the system: all do unless it says which.
func (s *System) lists(key, name string) bool {
	f := file{name: name}
	return len(s.DataSources) == 0 || slices.ContainsFunc(s.DataSources, func(d string) bool { return d == key || f.named(d) })
}

func decode(root *document.Node, to any) error {
	if root == nil {
		return nil
	}
	return json.Unmarshal(root.AppendJSON(nil), to)
}

// SystemDocument answers the canonical JSON of the system's document - sorted keys,
// no white space, the same for YAML and JSON that mean the same - or nil if it is
// not well-formed. Reading it again answers the same system and the same text.
func (b *Bundle) SystemDocument() []byte {
	if b.system.root == nil {
		return nil
	}
	return b.system.root.AppendJSON(nil)
}

// DataSourceDocument is [Bundle.SystemDocument] of the data source i.
func (b *Bundle) DataSourceDocument(i int) []byte {
	if b.data[i].root == nil {
		return nil
	}
	return b.data[i].root.AppendJSON(nil)
}

// SystemFile is the name of the system's document, as faults call it.
func (b *Bundle) SystemFile() string { return b.system.name }

// DataSourceFile is the name of the file, as faults call it, of the data source i.
func (b *Bundle) DataSourceFile(i int) string { return b.data[i].name }

// Document answers {"dataSources":[...],"system":{...}} in canonical JSON, the data
// sources in the order of their keys: what [Open] reads. nil if one of them is not
// well-formed.
func (b *Bundle) Document() []byte { return b.document("") }

// Canonical is [Bundle.Document] without the system's certification, which is made
// from it.
func (b *Bundle) Canonical() []byte { return b.document("certification") }

func (b *Bundle) document(without string) []byte {
	all := &document.Node{Kind: document.Array}
	for i := range b.data {
		all.Items = append(all.Items, b.data[i].root)
	}
	if b.system.root == nil || slices.Contains(all.Items, nil) {
		return nil
	}
	system := *b.system.root
	system.Members = slices.DeleteFunc(slices.Clone(system.Members), func(m document.Member) bool { return without != "" && m.Key == without })
	whole := document.Node{Kind: document.Object, Members: []document.Member{{Key: "dataSources", Value: all}, {Key: "system", Value: &system}}}
	return whole.AppendJSON(nil)
}

// Contract is the hash of the manifest: the SHA-256 of [Bundle.Canonical].
func (b *Bundle) Contract() claviger.Contract { return sha256.Sum256(b.Canonical()) }

// Open reads what [Bundle.Document] wrote, or the body of an upload. It fails with
// KindUnreadable if the text is not an object with a system and a list of data
// sources; what is wrong with these is for [Validate].
func Open(text []byte) (*Bundle, error) {
	unreadable := claviger.Errorf(claviger.KindUnreadable, "", `The body must be {"system": {...}, "dataSources": [...]}.`)
	var parts struct {
		System      json.RawMessage   `json:"system"`
		DataSources []json.RawMessage `json:"dataSources"`
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&parts); err != nil || len(parts.System) == 0 {
		return nil, unreadable.With(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, unreadable
	}
	others := make([]Part, 0, min(len(parts.DataSources), maxDataSources+1))
	for i, raw := range parts.DataSources[:cap(others)] {
		others = append(others, Part{Name: "dataSources." + strconv.Itoa(i), Data: raw})
	}
	return Parse(Part{Name: "system", Data: parts.System}, others), nil
}
