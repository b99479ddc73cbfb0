//go:build unix

package main

import (
	"context"
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// newWatched is a watched context that tells how often signals were begun to be watched.
func newWatched(start time.Time) (w *watched, times *int) {
	times = new(int)
	w = &watched{Context: context.Background(), start: start}
	w.watch = func() {
		w.began.Store(true)
		*times++
	}
	return w, times
}

// Signals are watched from when someone waits, or looks after a while.
func TestWatched(t *testing.T) {
	w, times := newWatched(time.Now().Add(time.Hour))
	if err := w.Err(); err != nil || *times != 0 {
		t.Errorf("at first: %v, watched %d times, wanted 0", err, *times)
	}
	w.start = time.Now().Add(-watchAfter - time.Millisecond)
	for range 3 {
		if err := w.Err(); err != nil || *times != 1 {
			t.Errorf("after a while: %v, watched %d times, wanted 1", err, *times)
		}
	}
	w, times = newWatched(time.Now().Add(time.Hour))
	child, cancel := context.WithCancel(w)
	defer cancel()
	if *times != 1 {
		t.Errorf("a context is derived: watched %d times, wanted 1", *times)
	}
	if child.Err() != nil {
		t.Error(child.Err())
	}
}

// A signal ends the context with its cause, also for who looks through a context made of it.
func TestWithSignals(t *testing.T) {
	var patient atomic.Bool
	patient.Store(true) // else the process would be ended
	w := withSignals(context.Background(), &patient)
	w.watch()
	child, cancel := context.WithCancel(w)
	defer cancel()
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-child.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("the signal was not seen")
	}
	for _, ctx := range []context.Context{w, child} {
		if ctx.Err() == nil {
			t.Error("no error after a signal")
		}
		if sig := (*interrupted)(nil); !errors.As(context.Cause(ctx), &sig) || sig.code() != exitTerminated {
			t.Errorf("the cause is %v, wanted SIGTERM", context.Cause(ctx))
		}
	}
}
