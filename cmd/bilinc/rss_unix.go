//go:build !windows

package main

import (
	goruntime "runtime"
	"syscall"
)

// peakRSS is the most memory that the process has had, in bytes; nil where
// the system does not say.
func peakRSS() *int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return nil
	}
	n := int64(u.Maxrss)                                       //nolint:unconvert // it is an int32 on 32-bit systems
	if goruntime.GOOS != "darwin" && goruntime.GOOS != "ios" { // those two count bytes
		n *= 1024
	}
	return &n
}
