// Package file writes files so that a failed run leaves nothing behind, and
// reads files that are named by untrusted input. It knows no format.
package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
)

// WriteAtomic makes the file at path hold what write writes, or leaves
// everything as it was: the bytes go to a temporary file in the same folder,
// which is synced and renamed only after write has returned nil. The temporary
// file is removed on every failure, a panic in write included.
//
// Where path exists and force is false, the error satisfies
// errors.Is(err, fs.ErrExist), write is not called, and a file that another
// process makes meanwhile is not harmed either. With force the old file is
// replaced, its permissions kept. A symbolic link is written through: the link
// stays and its target is replaced. What is neither a regular file nor a link
// to one is refused with or without force.
func WriteAtomic(path string, force bool, write func(io.Writer) error) (err error) {
	target, perm, err := CheckOutput(path, force)
	if err != nil {
		return err
	}
	f, err := createBeside(target)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, cause(err))
	}
	done := false
	defer func() {
		if !done {
			_ = f.Close() // an error changes nothing: the file goes
			_ = os.Remove(f.Name())
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	if perm != 0 {
		err = f.Chmod(perm)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, cause(err))
	}
	if force {
		err = os.Rename(f.Name(), target)
	} else {
		err = renameNew(f.Name(), target)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, cause(err))
	}
	done = true
	syncDir(filepath.Dir(target))
	return nil
}

// CheckOutput reports whether WriteAtomic would take path, before any work is
// spent on the output. target is the file behind symbolic links, perm the
// permissions of the file that would be replaced (0: there is none).
func CheckOutput(path string, force bool) (target string, perm fs.FileMode, err error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if dir, err := os.Stat(filepath.Dir(path)); err != nil {
			return "", 0, fmt.Errorf("write %s: folder %s: %w", path, filepath.Dir(path), cause(err))
		} else if !dir.IsDir() {
			return "", 0, fmt.Errorf("write %s: %s is not a folder", path, filepath.Dir(path))
		}
		return path, 0, nil
	case err != nil:
		return "", 0, fmt.Errorf("write %s: %w", path, cause(err))
	}
	target = path
	if info.Mode()&fs.ModeSymlink != 0 {
		if target, err = filepath.EvalSymlinks(path); err != nil {
			return "", 0, fmt.Errorf("write %s: the symbolic link leads nowhere: %w", path, cause(err))
		}
		if info, err = os.Stat(target); err != nil {
			return "", 0, fmt.Errorf("write %s: %w", path, cause(err))
		}
	}
	if !info.Mode().IsRegular() {
		return "", 0, fmt.Errorf("write %s: it exists and is %s", path, kind(info.Mode()))
	}
	if !force {
		return "", 0, fmt.Errorf("write %s: %w", path, fs.ErrExist)
	}
	return target, info.Mode().Perm(), nil
}

// createBeside makes a new hidden file in target's folder, readable as the
// user's umask says (os.CreateTemp would make it private for good).
func createBeside(target string) (*os.File, error) {
	dir, _ := filepath.Split(target)
	for try := 0; ; try++ {
		name := ".bilinc-" + strconv.FormatUint(rand.Uint64(), 36) + ".tmp"
		f, err := os.OpenFile(dir+name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if err == nil || try == 100 || !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
}

// renameNew renames from to to, which must not exist. A hard link settles that
// without a race; on a file system without them a look beforehand must do.
func renameNew(from, to string) error {
	switch err := os.Link(from, to); {
	case err == nil:
		_ = os.Remove(from) // the output is complete with or without this
		return nil
	case errors.Is(err, fs.ErrExist):
		return fs.ErrExist
	}
	if _, err := os.Lstat(to); err == nil {
		return fs.ErrExist
	}
	return os.Rename(from, to)
}

// kind names a file's type for an error.
func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a folder"
	case m&fs.ModeNamedPipe != 0:
		return "a pipe"
	case m&fs.ModeDevice != 0:
		return "a device"
	case m&fs.ModeSocket != 0:
		return "a socket"
	}
	return "not a regular file"
}

// cause takes the operation and the path off an error of package os, which
// the callers here name themselves.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	var l *os.LinkError
	if errors.As(err, &l) {
		return l.Err
	}
	return err
}

// chunk is how much Writer writes between two looks at its context.
const chunk = 4 << 20

// Writer passes bytes on to w until ctx is done, then fails with the
// context's cause. Inside WriteAtomic it makes a long write stop at once and
// leave nothing.
func Writer(ctx context.Context, w io.Writer) io.Writer { return &ctxWriter{ctx, w} }

type ctxWriter struct {
	ctx context.Context
	w   io.Writer
}

func (c *ctxWriter) Write(p []byte) (n int, err error) {
	for {
		if c.ctx.Err() != nil {
			return n, context.Cause(c.ctx)
		}
		m, err := c.w.Write(p[n:min(len(p), n+chunk)])
		n += m
		if err != nil || n == len(p) {
			return n, err
		}
	}
}
