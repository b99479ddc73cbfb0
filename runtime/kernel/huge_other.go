//go:build !linux

package kernel

// hugePages asks for large pages: on Linux.
func hugePages([]byte) {}
