//go:build !unix

package main

import "io/fs"

// ownerOf answers whose a file is: nobody's that could be told here.
func ownerOf(fs.FileInfo) (uid int, known bool) { return 0, false }
