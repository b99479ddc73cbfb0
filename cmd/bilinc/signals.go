package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// interrupted is the cause of a context that a signal ended.
type interrupted struct{ sig os.Signal }

func (i *interrupted) Error() string { return "interrupted" }

// code is the exit status that shells give a process that the signal ended.
func (i *interrupted) code() int {
	if i.sig == syscall.SIGTERM {
		return exitTerminated
	}
	return exitInterrupted
}

const (
	// watchAfter is how long a brief command may run without watching signals: who stops it sooner finds it stopped
	// by the system, which shells tell with the same status.
	watchAfter = 20 * time.Millisecond
	// grace is how long a command has to stop by itself after a signal.
	grace = 700 * time.Millisecond
)

// A watched context is done after SIGINT or SIGTERM, from when they are watched: after a call of watch, when someone
// waits for the context, or looks at it after watchAfter. To watch takes three threads of Go's runtime, a twentieth of
// the time of running a small model.
type watched struct {
	context.Context
	start time.Time
	began atomic.Bool
	watch func()
}

func (w *watched) Err() error {
	if !w.began.Load() && time.Since(w.start) > watchAfter {
		w.watch()
	}
	return w.Context.Err()
}

func (w *watched) Done() <-chan struct{} {
	w.watch()
	return w.Context.Done()
}

// withSignals returns a context that signals end once they are watched. A
// command that does not look at it in time is ended: its output, which is
// renamed into place at the very end, is not there then either. While patient
// is set only a second signal ends it so.
func withSignals(parent context.Context, patient *atomic.Bool) *watched {
	ctx, cancel := context.WithCancelCause(parent)
	w := &watched{Context: ctx, start: time.Now()}
	w.watch = sync.OnceFunc(func() {
		w.began.Store(true)
		signals := make(chan os.Signal, 2)
		signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
		go func() {
			sig := &interrupted{<-signals}
			cancel(sig)
			var late <-chan time.Time
			if !patient.Load() {
				late = time.After(grace)
			}
			select {
			case <-signals:
			case <-late:
			}
			fmt.Fprintln(os.Stderr, "bilinc: error: interrupted")
			os.Exit(sig.code())
		}()
	})
	return w
}
