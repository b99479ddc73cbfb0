//go:build !windows

package file

import "os"

// syncDir makes a rename in dir last through a loss of power. An error is
// ignored: the file is complete and in its place, and some file systems
// cannot sync a folder at all.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
}
