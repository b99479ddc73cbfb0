//go:build !linux || !(amd64 || arm64)

package kernel

import (
	goruntime "runtime"
	"sync"
	"sync/atomic"
)

var (
	bed     = sync.NewCond(new(sync.Mutex))
	waiting int
)

// sleep waits for a wake after offers stopped being seen. It returns true if a wake counted it.
func sleep(seen uint32) bool {
	bed.L.Lock()
	defer bed.L.Unlock()
	if offers.Load() != seen {
		return false
	}
	waiting++
	bed.Wait()
	return true
}

// wake wakes at most n sleepers and returns how many it did.
func wake(n int) int {
	bed.L.Lock()
	defer bed.L.Unlock()
	n = min(n, waiting)
	waiting -= n
	for range n {
		bed.Signal()
	}
	return n
}

// yieldCPU lets another thread have this core.
func yieldCPU() { goruntime.Gosched() }

// currentCPU is the core that the caller runs on; below 0: unknown.
func currentCPU() int { return -1 }

// banThread does nothing: where a thread runs is the system's choice.
func banThread(int, int) {}

// moveThread refuses, so that callers do not sleep for helpers.
func moveThread(int, int) bool { return false }

// currentThread and threadTime do not know.
func currentThread() int { return 0 }

func threadTime(int) int64 { return -1 }

func sleepCaller(*atomic.Int32, int32) {}

func wakeCaller(*atomic.Int32) {}
