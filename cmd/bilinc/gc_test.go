package main

import (
	"math"
	goruntime "runtime"
	"runtime/debug"
	"testing"
	"time"
)

// gcSettings are the percentage and the limit in force.
func gcSettings() (percent int, limit int64) {
	percent = debug.SetGCPercent(-1)
	debug.SetGCPercent(percent)
	return percent, debug.SetMemoryLimit(-1)
}

func keepGCSettings(t *testing.T) {
	percent, limit := gcSettings()
	t.Cleanup(func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	})
}

// Nothing is collected at first; after one collection the percentage is what counts.
func TestCollectLate(t *testing.T) {
	keepGCSettings(t)
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	collectLate()
	if percent, limit := gcSettings(); percent != -1 || limit != gcFloor {
		t.Errorf("at first: %d%% and a limit of %d bytes, wanted none and %d", percent, limit, gcFloor)
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		goruntime.GC()
		percent, limit := gcSettings()
		if percent == gcPercent && limit == math.MaxInt64 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after a collection: %d%% and a limit of %d bytes, wanted %d%% and none", percent, limit, gcPercent)
		}
		time.Sleep(time.Millisecond)
	}
}

// What the environment says is left alone.
func TestCollectAsTheEnvironmentSays(t *testing.T) {
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		keepGCSettings(t)
		percent, limit := gcSettings()
		t.Setenv("GOGC", "")
		t.Setenv("GOMEMLIMIT", "")
		t.Setenv(name, "100")
		collectLate()
		if p, l := gcSettings(); p != percent || l != limit {
			t.Errorf("with %s set: %d%% and a limit of %d bytes, wanted %d%% and %d", name, p, l, percent, limit)
		}
	}
}
