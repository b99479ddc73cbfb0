package file

import "syscall"

// withPages maps the pages of a file too.
const withPages = syscall.MAP_POPULATE

// giveBack drops clean pages; a failure leaves them in memory, no harm done.
func giveBack(b []byte) { _ = syscall.Madvise(b, syscall.MADV_DONTNEED) }
