package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// fileChecks look at what the settings name on this machine.
func fileChecks() []check {
	return []check{
		{
			id: "settings.file", what: "nobody else can change the settings file", security: true, look: lookSettingsFile,
			fix: "chmod 600 the file, and give it to the user that runs the server",
		},
		{
			id: "binary.writable", what: "nobody else can replace the program", security: true, look: lookBinary,
			fix: "chmod go-w the program and its folder",
		},
		{
			id: "data.folder", what: "the data folder is its owner's alone", security: true, look: lookData,
			fix: "chmod 700 the folder, and chown it to the user that runs the server",
		},
		{
			id: "data.temporary", what: "the data is not where the system cleans up", look: lookTemporary,
			fix: "Set data to a folder that lasts, such as /var/lib/claviger",
		},
		{
			id: "database.file", what: "the database file is its owner's alone", security: true, look: lookDatabaseFile,
			fix: "chmod 600 the file with its -wal and -shm",
		},
		{
			id: "database.schema", what: "the database can be read, and has the tables of this version", look: lookSchema,
			fix: "Start the server of this version, which brings an older schema up to date; for a newer one, install the newer version",
		},
		{
			id: "masterkey.usable", what: "the master key is there, whole, and its owner's alone", security: true, look: lookKey,
			fix: "Do what the message says; without the right key nothing stored can be read",
		},
		{
			id: "masterkey.beside_database", what: "the master key is not kept with what it opens", security: true, warning: true, look: lookKeyPlace,
			fix: "Move it where the data's backups do not go, and set CLAVIGER_MASTER_KEY=file:PATH",
		},
		{
			id: "ledger.anchor", what: "the ledger's anchor is there", security: true, look: lookAnchor,
			fix: "Restore it, then: claviger audit verify. Without it a ledger that was cut off cannot be told from a whole one",
		},
		{
			id: "ledger.anchor_file", what: "nobody else can change the ledger's anchor", security: true, look: lookAnchorFile,
			fix: "chmod 600 the file, and give it to the user that runs the server",
		},
		{
			id: "ledger.anchor_beside_database", what: "the ledger's anchor is kept apart from the database", security: true, warning: true, look: lookAnchorPlace,
			fix: "Set ledger.anchor to a file on another disk, best one that can only be appended to",
		},
		{
			id: "secrets.files", what: "the secret store's files are their owner's alone", security: true, look: lookSecrets,
			fix: "chmod -R go= the files",
		},
		{
			id: "connectors.folder", what: "nobody else can add or change connectors", security: true, look: lookConnectors,
			fix: "chmod -R go-w the folder: a connector says where credentials go",
		},
		{
			id: "client.login", what: "the stored login is its owner's alone", security: true, look: lookLogin,
			fix: "Revoke the key, then log in again: claviger login",
		},
	}
}

// Who may do what to a file beside its owner.
const (
	othersWrite fs.FileMode = 0o022
	othersTouch fs.FileMode = 0o077
)

// guard answers what is wrong with a file or folder: who may reach it, and whose it is.
// One that is not there is nothing to look at.
func (p *patient) guard(path string, forbidden fs.FileMode) ([]string, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errSkipped
	}
	if err != nil {
		return nil, err
	}
	var found []string
	if p.system != "windows" && info.Mode().Perm()&forbidden != 0 && (!info.IsDir() || info.Mode()&fs.ModeSticky == 0 || forbidden == othersTouch) {
		found = append(found, fmt.Sprintf("%s has mode %04o", path, info.Mode().Perm()))
	}
	if uid, known := p.owner(info); known && uid != p.euid && uid != 0 {
		found = append(found, fmt.Sprintf("%s belongs to the user %d", path, uid))
	}
	return found, nil
}

// guards looks at several, of which one at least should be there.
func (p *patient) guards(forbidden fs.FileMode, paths ...string) (found []string, _ error) {
	looked := false
	for _, path := range paths {
		f, err := p.guard(path, forbidden)
		if errors.Is(err, errSkipped) {
			continue
		}
		if err != nil {
			return found, err
		}
		looked = true
		found = append(found, f...)
	}
	if !looked {
		return nil, errSkipped
	}
	return found, nil
}

func lookSettingsFile(_ context.Context, p *patient) ([]string, error) {
	if p.file == "" {
		return nil, errSkipped
	}
	return p.guard(p.file, othersWrite)
}

func lookBinary(_ context.Context, p *patient) ([]string, error) {
	return p.guards(othersWrite, p.binary, filepath.Dir(p.binary))
}

func lookData(_ context.Context, p *patient) ([]string, error) { return p.guard(p.Data, othersTouch) }

func lookTemporary(_ context.Context, p *patient) ([]string, error) {
	path, err := filepath.Abs(p.Data)
	if err != nil {
		return nil, err
	}
	if !p.Used {
		return nil, errSkipped
	}
	for _, folder := range []string{os.TempDir(), "/tmp", "/var/tmp", "/dev/shm"} {
		if within(path, folder) {
			return []string{path + " lies in " + folder}, nil
		}
	}
	return nil, nil
}

// within reports whether a path lies in a folder.
func within(path, folder string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// databaseFile answers the file of an SQLite database, "" for another.
func (p *patient) databaseFile() string {
	path, ok := strings.CutPrefix(p.DatabaseURL, "sqlite:")
	if !ok {
		return ""
	}
	return path
}

func lookDatabaseFile(_ context.Context, p *patient) ([]string, error) {
	path := p.databaseFile()
	if path == "" {
		return nil, errSkipped
	}
	return p.guards(othersTouch, path, path+"-wal", path+"-shm")
}

func lookSchema(_ context.Context, p *patient) ([]string, error) {
	switch {
	case p.DatabaseFault != nil:
		return nil, p.DatabaseFault
	case !p.Used:
		return nil, errSkipped
	case p.Applied != p.Known:
		return []string{fmt.Sprintf("the database has schema %d, this version knows %d", p.Applied, p.Known)}, nil
	}
	return nil, nil
}

func lookKey(_ context.Context, p *patient) ([]string, error) {
	if p.KeyFault == nil && !p.Used {
		return nil, errSkipped
	}
	return nil, p.KeyFault
}

// lookKeyPlace compares folders as they are, behind links.
func lookKeyPlace(_ context.Context, p *patient) ([]string, error) {
	return p.together(p.KeyPath, "the master key")
}

// together reports a file that is kept with the database, or in the data folder.
func (p *patient) together(file, what string) ([]string, error) {
	if file == "" || !p.Used {
		return nil, errSkipped
	}
	folders := []string{resolved(p.Data)}
	if db := p.databaseFile(); db != "" {
		folders = append(folders, filepath.Dir(resolved(db)))
	}
	for _, folder := range folders {
		if within(resolved(file), folder) {
			return []string{what + " lies in " + folder}, nil
		}
	}
	return nil, nil
}

// resolved answers the absolute path behind links, as far as it is there.
func resolved(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		return target
	}
	return path
}

func lookAnchor(_ context.Context, p *patient) ([]string, error) {
	if !p.Used {
		return nil, errSkipped
	}
	info, err := os.Stat(p.LedgerAnchor)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []string{"there is no " + p.LedgerAnchor}, nil
	case err != nil:
		return nil, err
	case info.Size() == 0:
		return []string{p.LedgerAnchor + " is empty"}, nil
	}
	return nil, nil
}

func lookAnchorFile(_ context.Context, p *patient) ([]string, error) {
	return p.guard(p.LedgerAnchor, othersWrite)
}

func lookAnchorPlace(_ context.Context, p *patient) ([]string, error) {
	return p.together(p.LedgerAnchor, "the anchor")
}

// mostFiles bounds the files of a folder that are looked at.
const mostFiles = 1000

func lookSecrets(_ context.Context, p *patient) ([]string, error) {
	path, ok := strings.CutPrefix(p.Secrets, "file:")
	if !ok {
		return nil, errSkipped
	}
	return p.tree(strings.TrimPrefix(path, "//"), othersTouch)
}

func lookConnectors(_ context.Context, p *patient) ([]string, error) {
	if p.ConnectorsDir == "" {
		return nil, errSkipped
	}
	return p.tree(p.ConnectorsDir, othersWrite)
}

// tree guards a file, or a folder and all that is in it.
func (p *patient) tree(root string, forbidden fs.FileMode) (found []string, _ error) {
	looked := 0
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if looked++; err != nil || looked > mostFiles {
			return errors.Join(err, fs.SkipAll)
		}
		f, err := p.guard(path, forbidden)
		found = append(found, f...)
		return err
	})
	return found, err
}

func lookLogin(_ context.Context, p *patient) ([]string, error) {
	path, err := p.program.configPath()
	if err != nil {
		return nil, err
	}
	return p.guard(path, othersTouch)
}
