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
	var before, after goruntime.MemStats
	goruntime.GC()
	goruntime.ReadMemStats(&before)
	t.Cleanup(collectLate())
	percent, limit := gcSettings()
	goruntime.ReadMemStats(&after)
	// Other tests may have left more than gcFloor, so that a collection begins at once.
	if after.NumGC == before.NumGC && (percent != -1 || limit != gcFloor) {
		t.Errorf("at first: %d%% and a limit of %d bytes, wanted none and %d", percent, limit, gcFloor)
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		goruntime.GC()
		percent, limit := gcSettings()
		if percent == 100 && limit == math.MaxInt64 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after a collection: %d%% and a limit of %d bytes, wanted 100%% and none", percent, limit)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestGarbage(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{{0, 100}, {500 << 20, 100}, {640 << 20, 60}, {896 << 20, 15}, {4 << 30, 15}} {
		if got := gcPercent(c.live); got != c.want {
			t.Errorf("%d bytes in use: %d %%, want %d", c.live, got, c.want)
		}
	}
}

// Every collection is seen, not the first alone, until it is stopped.
func TestAfterEachCollection(t *testing.T) {
	seen := make(chan uint64, 100)
	stop := afterEachCollection(func(live uint64) { seen <- live })
	for range 3 {
		goruntime.GC()
		select {
		case live := <-seen:
			if live == 0 {
				t.Error("nothing is in use")
			}
		case <-time.After(20 * time.Second):
			t.Fatal("a collection was not seen")
		}
	}
	stop()
	for len(seen) > 0 {
		<-seen
	}
	for range 3 {
		goruntime.GC()
		time.Sleep(10 * time.Millisecond)
	}
	if len(seen) > 0 {
		t.Error("called after it was stopped")
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
		collectLate()()
		if p, l := gcSettings(); p != percent || l != limit {
			t.Errorf("with %s set: %d%% and a limit of %d bytes, wanted %d%% and %d", name, p, l, percent, limit)
		}
	}
}
