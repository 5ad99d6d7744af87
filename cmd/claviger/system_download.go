package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"claviger"
	"claviger/api"
	"claviger/internal/manifest"
)

func (p *program) downloadCommand() *cobra.Command {
	var version int
	var force bool
	c := command("download SYSTEM", "Write what the server holds of a system to files", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		c, err := p.connect()
		if err != nil {
			return err
		}
		b, s, err := storedSystem(ctx, c, args[0], version)
		if err != nil {
			return err
		}
		if !systemKey.MatchString(s.Key) { // it names the folder
			return usagef("The server calls the system %q, which is no name for a folder.", s.Key)
		}
		d := download{System: s.Key, Version: s.Version, Files: []string{}, Kept: []string{}, Removed: []string{}}
		if err := d.plan(b, s); err != nil {
			return err
		}
		if err := d.write(force); err != nil {
			return err
		}
		return p.show(d, func() {
			for _, n := range d.Files {
				p.printf("Wrote %s\n", escape(n))
			}
			for _, n := range d.Removed {
				p.printf("Removed %s\n", escape(n))
			}
			p.printf("%s, version %d. Files that said so already: %d.\n", escape(s.Key), s.Version, len(d.Kept))
		})
	})
	c.Long = "Download compares by meaning. A file that says what the server holds stays as it is written, in\n" +
		"YAML or JSON; others are written as JSON with sorted keys, and with --force only where they are\n" +
		"there already. With --force the documents go too that the server's version does not have."
	c.Flags().IntVar(&version, "version", 0, "a version; default: the present one")
	c.Flags().BoolVar(&force, "force", false, "write over files that say something else")
	c.ValidArgsFunction = p.completeSystems
	return c
}

// download is what becomes of the files of a system.
type download struct {
	System  string   `json:"systemKey"`
	Version int      `json:"version"`
	Files   []string `json:"files"`     // that were written
	Kept    []string `json:"unchanged"` // that said the same already
	Removed []string `json:"removed"`   // documents of data sources that the version does not have

	texts [][]byte // of Files
}

// plan says what is to be written so that the folder holds what b says.
func (d *download) plan(b *manifest.Bundle, s api.System) error {
	local, err := manifest.Load(os.DirFS("."), s.Key)
	if claviger.IsKind(err, claviger.KindNotFound) {
		local, err = manifest.Parse(manifest.Part{}, nil), nil
	}
	if err != nil {
		return err
	}
	folder := integrations + "/" + s.Key + "/"
	if err := d.document(folder+s.Key+"-system.json", local.SystemFile(), local.SystemDocument(), b.SystemDocument()); err != nil {
		return err
	}
	var there []string
	for i := range b.DataSources {
		key := b.DataSources[i].Key
		if !systemKey.MatchString(key) || key == s.Key+"-system" {
			return usagef("The server calls a data source %q, which is no name for a file.", key)
		}
		there = append(there, key)
		file, document := "", []byte(nil)
		if at := slices.IndexFunc(local.DataSources, func(x manifest.DataSource) bool { return x.Key == key }); at >= 0 {
			file, document = local.DataSourceFile(at), local.DataSourceDocument(at)
		}
		if err := d.document(folder+key+".json", file, document, b.DataSourceDocument(i)); err != nil {
			return err
		}
	}
	for i, x := range local.DataSources {
		if local.DataSourceDocument(i) != nil && !slices.Contains(there, x.Key) {
			d.Removed = append(d.Removed, local.DataSourceFile(i))
		}
	}
	return d.file(folder+"env.template", b.EnvTemplate(local))
}

// document plans a document: as it is in file, if that means the same, else as JSON under
// the name that file has, or else name.
func (d *download) document(name, file string, old, now []byte) error {
	if file != "" && bytes.Equal(old, now) {
		d.Kept = append(d.Kept, file)
		return nil
	}
	if strings.HasSuffix(file, ".json") {
		name = file
	}
	for _, twin := range []string{".yaml", ".yml"} {
		twin = strings.TrimSuffix(name, ".json") + twin
		if _, err := os.Stat(twin); err == nil || file == twin {
			return usageError{message: twin + " is there already, as YAML, and says something else. Download writes JSON.", hint: "Move it away first."}
		}
	}
	var text bytes.Buffer
	if err := json.Indent(&text, now, "", "  "); err != nil {
		return fmt.Errorf("the server's document cannot be read: %w", err)
	}
	text.WriteByte('\n')
	return d.file(name, text.Bytes())
}

func (d *download) file(name string, text []byte) error {
	was, err := os.ReadFile(name)
	switch {
	case err == nil && bytes.Equal(was, text):
		d.Kept = append(d.Kept, name)
	case err == nil || errors.Is(err, fs.ErrNotExist):
		d.Files, d.texts, err = append(d.Files, name), append(d.texts, text), nil
	}
	return err
}

// write writes and removes what is planned; what is there already only if forced.
func (d *download) write(force bool) error {
	for _, name := range slices.Concat(d.Files, d.Removed) {
		if _, err := os.Stat(name); err == nil && !force {
			return usageError{message: name + " says something else than the server. Nothing was written.", hint: "Compare with claviger system diff, or write over it with --force."}
		}
	}
	for i, name := range d.Files {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := replaceDocument(name, d.texts[i]); err != nil {
			return err
		}
	}
	for _, name := range d.Removed {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	return nil
}
