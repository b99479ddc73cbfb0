package convert

import (
	"math"
	"time"

	"bilinc/convert/match"
)

// paceSteps is the total that a pace reports: shares of time have no unit.
const paceSteps = 1000

// A pace reports how far a work is whose steps take unlike times. Every kind of
// step has an expected amount of work, in multiplications, and a rate, that of
// the steps of its kind so far, or of all where there was none. What is left of
// the work at these rates, beside the time that has passed, is the share that is
// done. A nil pace reports nothing.
type pace struct {
	report func(what string, done, total int)
	clock  func() time.Time
	begin  time.Time
	left   map[paceKind]float64
	spent  map[paceKind]effort
	kind   paceKind // of the step that is under way
	work   float64
	since  time.Time
}

// A paceKind is a kind of steps.
type paceKind int

const (
	paceRuns     paceKind = iota // of the model over the data
	paceCurves                   // fits for the curves
	paceLow                      // trials of low rank
	pacePairs                    // trials of pairs
	paceFull                     // fits as they are carried out
	paceTraining                 // trainings, of which none is known before the first
	paceKinds
)

// effort is the work of steps and the seconds that they took.
type effort struct{ work, seconds float64 }

func newPace(report func(what string, done, total int), clock func() time.Time) *pace {
	if report == nil {
		return nil
	}
	return &pace{report: report, clock: clock, begin: clock(), left: map[paceKind]float64{}, spent: map[paceKind]effort{}, kind: -1}
}

// expect sets how much of a kind is still to be begun.
func (p *pace) expect(k paceKind, work float64) {
	if p != nil {
		p.left[k] = max(0, work)
	}
}

// step ends the step under way and begins one, of so much of what was expected
// of its kind.
func (p *pace) step(k paceKind, what string, work float64) {
	if p == nil {
		return
	}
	p.end()
	p.kind, p.work = k, work
	p.left[k] = max(0, p.left[k]-work)
	total := paceSteps
	if p.left[paceTraining]+p.work > 0 && p.kind == paceTraining && p.spent[paceTraining].work == 0 {
		total = 0
	}
	p.report(what, int(paceSteps*p.done()), total)
}

// end takes the time of the step under way.
func (p *pace) end() {
	if p == nil {
		return
	}
	now := p.clock()
	if p.kind >= 0 {
		e := p.spent[p.kind]
		p.spent[p.kind] = effort{e.work + p.work, e.seconds + now.Sub(p.since).Seconds()}
	}
	p.kind, p.since = -1, now
}

// done is the share of the time that has passed, the step under way being at
// its beginning.
func (p *pace) done() float64 {
	var all effort
	for k := range paceKinds {
		all.work += p.spent[k].work
		all.seconds += p.spent[k].seconds
	}
	if all.work == 0 || all.seconds == 0 {
		return 0
	}
	ahead := 0.0
	for k := range paceKinds {
		work := p.left[k]
		if k == p.kind {
			work += p.work
		}
		rate := all
		if e := p.spent[k]; e.work > 0 && e.seconds > 0 {
			rate = e
		}
		ahead += work * rate.seconds / rate.work
	}
	passed := p.since.Sub(p.begin).Seconds()
	return passed / (passed + ahead)
}

// fitWork is about the multiplications of fitting a weight to so many positions
// in so many sweeps, of rows×cols as it is then; 0 sweeps are low rank.
func fitWork(rows, cols int, positions float64, sweeps int) float64 {
	m, n := float64(rows), float64(cols)
	return positions*n*(n/2+2*m) + n*n*(n+3*m) + 4*float64(sweeps)*m*n*(4*weightSide+math.Sqrt(m*n)/8)
}

// fullSweeps is about how many sweeps a fit takes that is carried out.
const fullSweeps = 12

// jobWork is about the multiplications of what takes the place of a weight.
func (c *Calibration) jobWork(j *job) float64 {
	if c == nil {
		return float64(j.weight.Rows) * float64(j.weight.Cols) * float64(8*max(1, j.terms))
	}
	if isTable(j.weight) {
		return float64(j.weight.Rows) * float64(j.weight.Cols) * 64
	}
	positions := float64(c.rows)
	sweeps := fullSweeps
	if j.dense || j.shape.IsLowRank() {
		sweeps = 0
	}
	return fitWork(j.weight.Rows, j.weight.Cols, positions, sweeps)
}

// curveWork is about the multiplications of a weight's curve.
func (p *planner) curveWork(w *match.Weight) float64 {
	c := p.opts.Calibration
	if isTable(w) {
		return float64(w.Rows) * float64(w.Cols) * 64
	}
	sweeps := 0
	if p.opts.structure() != LowRank {
		sweeps = trialSweeps * len(fittedTerms)
	}
	return fitWork(w.Rows, w.Cols, float64(c.rows)/float64(max(1, c.trialThin)), sweeps)
}

// runWork is about the multiplications of running the model over the rows that
// trials take, so many times.
func (p *planner) runWork(times float64) float64 {
	c := p.opts.Calibration
	n := MACs(p.model, c.sizes)
	if n == nil {
		n = &p.params
	}
	return times * float64(*n) * float64(c.rows) / float64(max(1, c.trialThin))
}

// expectAll tells the pace of a plan on data what is to come.
func (p *planner) expectAll(wanted []bool) {
	if p.pace == nil {
		return
	}
	curves := 0.0
	var some planner
	some.opts, some.found, some.model, some.params = p.opts, p.found, p.model, p.params
	for i, w := range p.found.weights {
		if wanted[i] {
			curves += p.curveWork(w)
			some.curves = append(some.curves, &curve{weight: w})
		}
	}
	p.pace.expect(paceRuns, p.runWork(statisticRuns))
	p.pace.expect(paceCurves, curves)
	if p.opts.NumTerms > 0 && p.opts.structure() != Auto {
		return
	}
	cost := some.trialCosts()
	low, pairs := p.trialCounts(cost)
	p.expectTrials(cost, low, pairs)
}

// statisticRuns is about how many runs of the model the metrics and the moments
// of the original take, a backward one counting two.
const statisticRuns = 4

// expectTrials tells the pace how many trials are to come.
func (p *planner) expectTrials(cost trialCost, low, pairs int) {
	s := p.opts.structure()
	full := cost.pairs * float64(fullSweeps) / trialSweeps
	switch s {
	case LowRank:
		pairs, full = 0, 0
	case Terms, Bilinear:
		low, full = 0, 0
	}
	p.pace.expect(paceLow, float64(low)*cost.lowRank)
	p.pace.expect(pacePairs, float64(pairs)*cost.pairs)
	p.pace.expect(paceFull, full*float64(1+finalists))
}

// trialCounts is how many trials of low rank and of pairs their work allows.
func (p *planner) trialCounts(cost trialCost) (low, pairs int) {
	if p.few {
		return leastLowRank, leastPairs
	}
	low = int(min(mostLowRank, max(leastLowRank, lowRankWork/max(1, cost.lowRank))))
	pairs = int(min(mostPairs, max(leastPairs, pairsWork/max(1, cost.pairs))))
	return low, pairs
}

// stepsOf begins the pace of jobs that are carried out.
func (c *Calibration) stepsOf(list []*job, report func(string, int, int)) *pace {
	p := newPace(report, time.Now)
	sum := 0.0
	for _, j := range list {
		sum += c.jobWork(j)
	}
	p.expect(paceFull, sum)
	return p
}
