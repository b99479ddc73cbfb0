package main

import (
	"math"
	"os"
	goruntime "runtime"
	"runtime/debug"
)

const (
	// gcPercent is how much garbage there may be, as a percentage of what is in use. What is large here
	// holds no pointers, so that collecting often costs next to nothing and halves the peak.
	gcPercent = 25
	// gcFloor is the memory in bytes below which nothing is collected: small models are run in less, and
	// collecting in a small heap took a third of such a process's time.
	gcFloor = 64 << 20
)

// collectLate sets the garbage collector as the constants say, unless the environment does.
func collectLate() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(gcFloor)
	first := new([16]byte)
	goruntime.SetFinalizer(first, func(*[16]byte) { // the first collection is over
		debug.SetGCPercent(gcPercent)
		debug.SetMemoryLimit(math.MaxInt64)
	})
}
