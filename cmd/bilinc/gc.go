package main

import (
	"math"
	"os"
	goruntime "runtime"
	"runtime/debug"
	"sync"
)

const (
	// gcTotal is the memory in bytes up to which there may be as much garbage as there is in use, and gcLeast the
	// garbage that there may be in any case, as a percentage of what is in use. What is large here holds no pointers, so
	// that collecting often costs next to nothing and halves the peak; but memory that was given back has to be had
	// again, which took a quarter of the time of a conversion that collected a small heap as often.
	gcTotal = 1 << 30
	gcLeast = 15
	// gcFloor is the memory in bytes below which nothing is collected: small models are run in less, and
	// collecting in a small heap took a third of such a process's time.
	gcFloor = 64 << 20
)

// collectLate sets the garbage collector as the constants say, unless the environment does. stop leaves it as it is
// then.
func collectLate() (stop func()) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(gcFloor)
	return afterEachCollection(func(live uint64) {
		debug.SetGCPercent(gcPercent(live))
		debug.SetMemoryLimit(math.MaxInt64)
	})
}

// gcPercent is the garbage that there may be beside so many bytes in use, as a percentage of these.
func gcPercent(live uint64) int {
	if 2*live <= gcTotal {
		return 100
	}
	return max(gcLeast, int(100*(gcTotal-min(live, gcTotal))/live))
}

// afterEachCollection calls f with the bytes that are in use after each collection of garbage, until it is stopped.
func afterEachCollection(f func(live uint64)) (stop func()) {
	var mu sync.Mutex
	stopped := false
	var arm func()
	arm = func() {
		goruntime.SetFinalizer(new([16]byte), func(*[16]byte) { // what nothing points to any more is the sign
			var m goruntime.MemStats // runtime/metrics would have it too, and sorts all its names at start
			goruntime.ReadMemStats(&m)
			mu.Lock()
			defer mu.Unlock()
			if !stopped {
				arm() // first: a collection that f leads to is seen too
				f(m.HeapAlloc)
			}
		})
	}
	arm()
	return func() {
		mu.Lock()
		defer mu.Unlock()
		stopped = true
	}
}
