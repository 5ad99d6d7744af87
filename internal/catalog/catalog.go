package catalog

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"claviger"
	"claviger/internal/document"
)

// maxFiles bounds the documents of one folder.
const maxFiles = 2000

// FileFaults are the faults of one file.
type FileFaults struct {
	File   string
	Faults []Fault
}

// Catalog is the connectors that every organization sees: the built-in ones and
// those of the operator's folder. It is safe for concurrent use; a connector that
// it answers is never changed.
type Catalog struct {
	opts    Options
	builtin map[string]*entry

	loading sync.Mutex // held while files are read, so that lookups need not wait
	dir     string
	files   map[string]loaded // of dir, by file name

	mu    sync.RWMutex
	all   map[string]*entry
	order []*entry // sorted by key
}

// loaded is the last good reading of a file, and what it was read from.
type loaded struct {
	modified time.Time
	size     int64
	conn     *claviger.Connector // nil if the file was never good
	faults   []Fault
}

// Load makes a catalog of the built-in documents: every .yaml, .yml and .json file at
// the top of fsys. It reads no more than the head of each file; a document is parsed
// when it is first asked for, because a server uses few of them. Two documents of one
// key are an error here; every other fault is [Catalog.Check]'s to find, in a test,
// because the documents ship with the program.
func Load(fsys fs.FS, opts Options) (*Catalog, error) {
	c := &Catalog{opts: opts, builtin: map[string]*entry{}, files: map[string]loaded{}}
	names, err := documents(fsys)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		e, err := newEntry(fsys, name, opts)
		if err != nil {
			return nil, err
		}
		if c.builtin[e.head.Key] != nil {
			return nil, fmt.Errorf("catalog: %s: the key %s is taken", name, e.head.Key)
		}
		c.builtin[e.head.Key] = e
	}
	c.publish()
	return c, nil
}

// Check parses every built-in document and answers the first fault.
func (c *Catalog) Check() error {
	for _, key := range slices.Sorted(maps.Keys(c.builtin)) {
		if _, err := c.builtin[key].connector(); err != nil {
			return err
		}
	}
	return nil
}

// documents answers the names of the files that hold documents, sorted.
func documents(fsys fs.FS) ([]string, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		switch path.Ext(e.Name()) {
		case ".yaml", ".yml", ".json":
			if !e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
				names = append(names, e.Name())
			}
		}
	}
	if len(names) > maxFiles {
		return nil, fmt.Errorf("catalog: the folder holds more than %d documents", maxFiles)
	}
	return names, nil
}

// readFile reads one file up to one byte past the limit, which Parse then refuses.
func readFile(fsys fs.FS, name string) ([]byte, fs.FileInfo, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("catalog: %s is no regular file", name)
	}
	data, err := io.ReadAll(io.LimitReader(f, document.MaxBytes+1))
	return data, info, err
}

// LoadDir makes dir the operator's folder and reads it. The faults of broken files
// are answered, the good ones are in the catalog; the error tells that the folder
// itself cannot be read.
func (c *Catalog) LoadDir(dir string) ([]FileFaults, error) {
	c.loading.Lock()
	c.dir, c.files = dir, map[string]loaded{}
	c.loading.Unlock()
	return c.Reload(context.Background())
}

// Reload reads the files of the operator's folder that changed since they were last
// read, by time and size. A file that broke keeps its last good connector; one that
// is gone takes its connector along. Faults are answered at every call for as long
// as the file is broken. Without a folder it does nothing. It keeps within the
// folder: a symbolic link out of it is not followed.
func (c *Catalog) Reload(ctx context.Context) ([]FileFaults, error) {
	c.loading.Lock()
	defer c.loading.Unlock()
	if c.dir == "" {
		return nil, nil
	}
	root, err := os.OpenRoot(c.dir)
	if err != nil {
		return nil, fmt.Errorf("catalog: the connectors folder cannot be opened: %w", err)
	}
	defer func() { _ = root.Close() }()
	fsys := root.FS()
	names, err := documents(fsys)
	if err != nil {
		return nil, err
	}
	files := make(map[string]loaded, len(names))
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		files[name] = c.reread(fsys, name, c.files[name])
	}
	c.files = files
	return c.publish(), nil
}

// reread answers a file's reading, the old one if the file did not change.
func (c *Catalog) reread(fsys fs.FS, name string, old loaded) loaded {
	info, err := fs.Stat(fsys, name)
	if err == nil && old.size == info.Size() && old.modified.Equal(info.ModTime()) && (old.conn != nil || old.faults != nil) {
		return old
	}
	data, info, err := readFile(fsys, name)
	if err != nil {
		return loaded{conn: old.conn, faults: []Fault{{Code: CodeSyntax, Message: "the file cannot be read"}}}
	}
	now := loaded{modified: info.ModTime(), size: info.Size(), conn: old.conn}
	conn, faults := Parse(name, data, c.opts)
	if now.faults = faults; len(faults) == 0 {
		now.conn = conn
	}
	return now
}

// publish rebuilds what Get and List answer, from the built-in connectors and the
// files in the order of their names. The caller holds loading.
func (c *Catalog) publish() []FileFaults {
	all := maps.Clone(c.builtin)
	skeletons := map[string]string{}
	for key := range c.builtin {
		skeletons[skeleton(key)] = key
	}
	var out []FileFaults
	for _, name := range slices.Sorted(maps.Keys(c.files)) {
		f := c.files[name]
		faults := f.faults
		if f.conn != nil {
			if taken, ok := skeletons[skeleton(f.conn.Key)]; ok {
				faults = append(slices.Clone(faults), Fault{
					Line: 1, Column: 1, Path: "key", Code: CodeReserved, Hint: "choose another key",
					Message: fmt.Sprintf("%s can be taken for %s, which is in the catalogue already", document.Quote(f.conn.Key), document.Quote(taken)),
				})
			} else {
				all[f.conn.Key] = &entry{head: *f.conn, conn: f.conn}
				skeletons[skeleton(f.conn.Key)] = f.conn.Key
			}
		}
		if len(faults) > 0 {
			out = append(out, FileFaults{File: name, Faults: faults})
		}
	}
	order := slices.SortedFunc(maps.Values(all), func(a, b *entry) int { return strings.Compare(a.head.Key, b.head.Key) })
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all, c.order = all, order
	return out
}

// Get answers the connector of the given key.
func (c *Catalog) Get(key string) (*claviger.Connector, bool) {
	c.mu.RLock()
	e, ok := c.all[key]
	c.mu.RUnlock()
	if !ok {
		return nil, false
	}
	conn, err := e.connector()
	return conn, err == nil
}

// Filter narrows a list; an empty field narrows nothing.
type Filter struct {
	Search   string // part of key or name, without case
	Category string
	Kind     string
}

// Matches reports whether a connector passes the filter.
func (f Filter) Matches(conn *claviger.Connector) bool {
	search := strings.ToLower(strings.TrimSpace(f.Search))
	return (search == "" || strings.Contains(conn.Key, search) || strings.Contains(strings.ToLower(conn.Name), search)) &&
		(f.Category == "" || slices.Contains(conn.Categories, f.Category)) &&
		(f.Kind == "" || conn.Kind == f.Kind)
}

// List answers the connectors that pass the filter, by key. The first list without a
// filter parses what was not parsed yet, some tenths of a second of work in all.
func (c *Catalog) List(f Filter) []*claviger.Connector {
	c.mu.RLock()
	order := c.order
	c.mu.RUnlock()
	var out []*claviger.Connector
	for _, e := range order {
		if !f.Matches(&e.head) {
			continue
		}
		if conn, err := e.connector(); err == nil {
			out = append(out, conn)
		}
	}
	return out
}

// CheckKey refuses a key for an organization's own connector that is taken by, or
// can be mistaken for, one of this catalog: an *Error of KindConflict, code
// reserved_key.
func (c *Catalog) CheckKey(key string) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	want := skeleton(key)
	for _, taken := range c.order {
		if skeleton(taken.head.Key) == want {
			e := claviger.Errorf(claviger.KindConflict, "reserved_key", "The key is that of %s, or can be taken for it. Choose another key.", taken.head.Key)
			e.Param = "key"
			return e
		}
	}
	return nil
}
