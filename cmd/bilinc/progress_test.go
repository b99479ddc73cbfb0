package main

import (
	"strings"
	"testing"
	"time"
)

func TestProgress(t *testing.T) {
	var w strings.Builder
	now := time.Unix(100, 0)
	p := progress{newBar(&w, "plan", 0, func() time.Time { return now })}
	drawn := func(want string) {
		t.Helper()
		if got := w.String(); got != want {
			t.Errorf("drawn %q, wanted %q", got, want)
		}
		w.Reset()
	}
	p.add(1)
	drawn(barClear + "plan (1)")
	p.set(2, "plan")
	drawn("") // too soon
	now = now.Add(6 * time.Second)
	p.share("fit", 300, 1000) // a share of the time
	drawn(barClear + "fit  30 % █████████" + strings.Repeat(" ", 21) + " 14s left")
	now = now.Add(barPause)
	p.share("train", 1, 0) // how much is left is not known
	drawn(barClear + "train (1)")
	now = now.Add(barPause)
	p.done()
	drawn(barClear)

	p = progress{newBar(&w, "fit", 10, func() time.Time { return now })}
	now = now.Add(6 * time.Second)
	p.set(3, "fit")
	drawn(barClear + "fit  30 % █████████" + strings.Repeat(" ", 21) + " (3/10) 14s left")
	now = now.Add(barPause)
	p.add(99)
	drawn(barClear + "fit 100 % " + strings.Repeat("█", 30) + " (10/10)")
	p.done()
	drawn(barClear)

	quiet := (&app{stderr: &w}).progress("x", 3)
	quiet.add(1)
	quiet.set(2, "y")
	quiet.share("z", 1, 4)
	quiet.done()
	drawn("")
}
