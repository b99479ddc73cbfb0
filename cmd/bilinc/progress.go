package main

import (
	"time"

	"github.com/schollz/progressbar/v3"
)

// A progress shows how far a loop is; it draws nothing unless stderr is a
// terminal and --quiet is not set. What it cannot draw is not worth failing for.
type progress struct{ bar *progressbar.ProgressBar }

// progress begins a bar of total steps.
func (a *app) progress(what string, total int) progress {
	if a.quiet || !a.terminal {
		return progress{}
	}
	return progress{progressbar.NewOptions(total,
		progressbar.OptionSetWriter(a.stderr),
		progressbar.OptionSetDescription(what),
		progressbar.OptionSetWidth(30),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionClearOnFinish(),
	)}
}

// add counts n more steps.
func (p progress) add(n int) {
	if p.bar != nil {
		_ = p.bar.Add(n)
	}
}

// set counts done steps in all, and says what the next one is.
func (p progress) set(done int, what string) {
	if p.bar != nil {
		p.bar.Describe(what)
		_ = p.bar.Set(done)
	}
}

// of changes the total.
func (p progress) of(total int) {
	if p.bar != nil {
		p.bar.ChangeMax(total)
	}
}

// done takes the bar away.
func (p progress) done() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}
