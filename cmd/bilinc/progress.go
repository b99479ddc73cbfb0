package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// A progress shows how far a loop is; it draws nothing unless stderr is a
// terminal and --quiet is not set. What it cannot draw is not worth failing for.
type progress struct{ bar *bar }

// A bar is one line of a terminal, drawn anew at most every barPause:
//
//	convert  40 % ████████████                   (4/10) 3s left
type bar struct {
	w     io.Writer
	clock func() time.Time

	mu          sync.Mutex
	what        string
	done, total int
	shares      bool // done and total count no steps
	begin, last time.Time
}

const (
	barWidth = 30
	barPause = 100 * time.Millisecond
	// barClear goes to the start of the line and wipes it.
	barClear = "\r\x1b[K"
)

// progress begins a bar of total steps; 0: not known yet.
func (a *app) progress(what string, total int) progress {
	if a.quiet || !a.terminal {
		return progress{}
	}
	return progress{newBar(a.stderr, what, total, time.Now)}
}

func newBar(w io.Writer, what string, total int, clock func() time.Time) *bar {
	return &bar{w: w, clock: clock, what: what, total: total, begin: clock()}
}

// change does f to the bar and draws it, if it was not drawn just now.
func (p progress) change(f func(b *bar)) {
	b := p.bar
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	f(b)
	if now := b.clock(); now.Sub(b.last) >= barPause {
		b.last = now
		_, _ = io.WriteString(b.w, barClear+b.line(now))
	}
}

// line is what the bar looks like.
func (b *bar) line(now time.Time) string {
	if b.total <= 0 {
		return fmt.Sprintf("%s (%d)", b.what, b.done)
	}
	done := min(max(b.done, 0), b.total)
	full := done * barWidth / b.total
	s := fmt.Sprintf("%s %3d %% %s%s", b.what, done*100/b.total, strings.Repeat("█", full), strings.Repeat(" ", barWidth-full))
	if !b.shares {
		s += fmt.Sprintf(" (%d/%d)", done, b.total)
	}
	if done > 0 && done < b.total {
		left := now.Sub(b.begin) / time.Duration(done) * time.Duration(b.total-done)
		s += fmt.Sprintf(" %v left", left.Round(time.Second))
	}
	return s
}

// add counts n more steps.
func (p progress) add(n int) { p.change(func(b *bar) { b.done += n }) }

// set counts done steps in all, and says what the next one is.
func (p progress) set(done int, what string) { p.change(func(b *bar) { b.done, b.what = done, what }) }

// share says that done of total, of no unit, has passed, and what comes next; a
// total of 0 that it is not known.
func (p progress) share(what string, done, total int) {
	p.change(func(b *bar) { b.what, b.done, b.total, b.shares = what, done, total, total > 0 })
}

// done takes the bar away.
func (p progress) done() {
	if p.bar == nil {
		return
	}
	p.bar.mu.Lock()
	defer p.bar.mu.Unlock()
	if !p.bar.last.IsZero() {
		_, _ = io.WriteString(p.bar.w, barClear)
	}
}
