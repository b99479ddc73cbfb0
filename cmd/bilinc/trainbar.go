package main

import (
	"fmt"
	"time"

	"bilinc/finetune"
)

// A trainingBar shows a training: a bar on a terminal; a line per epoch
// elsewhere, unless --quiet is set.
type trainingBar struct {
	a     *app
	bar   progress
	phase string
	epoch int
	begun time.Time
}

func (a *app) trainingBar() *trainingBar { return &trainingBar{a: a, begun: time.Now()} }

func (b *trainingBar) show(p finetune.Progress) {
	if p.Prepared > 0 {
		b.begin("teacher", 0)
		b.bar.add(1)
		return
	}
	b.begin("train", p.Steps)
	metric := ""
	if p.Metric != nil {
		metric = fmt.Sprintf(", metric %.4f", *p.Metric)
	}
	b.bar.set(p.Step, fmt.Sprintf("epoch %d/%d, loss %.4g%s, %s samples/s", p.Epoch, p.Epochs, p.Loss, metric, short(p.SamplesPerSecond)))
	if b.a.terminal || b.a.quiet || p.Epoch == b.epoch && p.Step < p.Steps {
		return
	}
	if b.epoch > 0 && p.Epoch > b.epoch {
		left := time.Duration(float64(time.Since(b.begun)) / float64(p.Step) * float64(p.Steps-p.Step)).Round(time.Second)
		fmt.Fprintf(b.a.stderr, "bilinc: epoch %d/%d: loss %.4g%s, %s samples/s, %v left\n",
			b.epoch, p.Epochs, p.Loss, metric, short(p.SamplesPerSecond), left)
	}
	b.epoch = p.Epoch
}

// begin starts the bar of a phase.
func (b *trainingBar) begin(phase string, total int) {
	if b.phase == phase {
		return
	}
	b.bar.done()
	b.phase, b.bar = phase, b.a.progress(phase, total)
	if phase == "train" {
		b.begun = time.Now()
	}
}

func (b *trainingBar) done() { b.bar.done() }
