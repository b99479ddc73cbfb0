package main

import (
	"fmt"
	"time"

	"bilinc/finetune"
)

// A trainingBar shows a training: a bar on a terminal; elsewhere a line per
// epoch, unless --quiet is set.
type trainingBar struct {
	a     *app
	bar   progress
	phase string
	begun time.Time
	first int // the step that it began with
}

func (a *app) trainingBar() *trainingBar { return &trainingBar{a: a} }

func (b *trainingBar) show(p finetune.Progress) {
	if p.Prepared > 0 {
		b.begin("teacher", p.Samples, 0)
		b.bar.set(p.Prepared, "teacher")
		return
	}
	b.begin("train", p.Steps, p.Step)
	metric := ""
	if p.Metric != nil {
		metric = fmt.Sprintf(", metric %.4f", *p.Metric)
	}
	state := fmt.Sprintf("loss %.4g%s, %s samples/s", p.Loss, metric, short(p.SamplesPerSecond))
	b.bar.set(p.Step, fmt.Sprintf("epoch %d/%d, %s", p.Epoch, p.Epochs, state))
	if b.a.terminal || b.a.quiet || p.Ended == 0 {
		return
	}
	left := time.Duration(0)
	if done := p.Step - b.first; done > 0 {
		left = time.Duration(float64(time.Since(b.begun)) / float64(done) * float64(p.Steps-p.Step))
	}
	fmt.Fprintf(b.a.stderr, "bilinc: epoch %d/%d: %s, %v left\n", p.Ended, p.Epochs, state, left.Round(time.Second))
}

// begin starts the bar of a phase; step is the first that will be shown.
func (b *trainingBar) begin(phase string, total, step int) {
	if b.phase == phase {
		return
	}
	b.bar.done()
	b.phase, b.bar, b.begun, b.first = phase, b.a.progress(phase, total), time.Now(), max(0, step-1)
}

func (b *trainingBar) done() { b.bar.done() }
