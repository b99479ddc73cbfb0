package convert

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// leastRank is the rank that layers must have on average for low rank from a
// fitted start to train better than pairs from a random one, where no trial
// tells. Accuracy after training, low rank against pairs:
//
//	784-1024-1024-10, Fashion-MNIST, 3 epochs: rank 30 .896 .893; 15 .879 .892
//	784-256-256-10, Fashion-MNIST, 10 epochs:  rank 44 .895 .892; 22 .889 .892; 11 .872 .888
//	16-256-256-26, Letter, 20 epochs:          rank 28 .952 .961; 14 .891 .951; 7 .588 .939
//	36-256-256-6, Satellite, 20 epochs:        rank 28 .914 .910; 14 .909 .909; 7 .887 .919
const leastRank = 20

// A trainingCandidate is a plan that may train best.
type trainingCandidate struct {
	what  string
	kind  leaningKind
	most  int // terms; 0: as many as the budget allows
	start Start
	widen int // how many times as wide hidden layers are; 0: as the options say
}

// trainingCandidates is what is compared for a training that follows, within
// what the options leave open.
func trainingCandidates(o *Options) []trainingCandidate {
	kinds := []trainingCandidate{{what: "low rank", kind: lowRankOnly}, {what: "pairs, many terms", kind: pairsOnly},
		{what: "pairs, few terms", kind: pairsOnly, most: 4}, {what: "one pair", kind: pairsOnly, most: 1}}
	switch o.structure() {
	case LowRank:
		kinds = kinds[:1]
	case Terms:
		kinds = kinds[1:]
	case Bilinear:
		kinds = kinds[3:]
	}
	if o.NumTerms > 0 { // the curves hold that number alone
		kinds = []trainingCandidate{{what: "the terms asked for", kind: anyKind}}
	}
	starts := []Start{Fitted, Random}
	if o.Start != "" {
		starts = []Start{o.Start}
	}
	var out []trainingCandidate
	for _, k := range kinds {
		for _, s := range starts {
			k.start = s
			out = append(out, k)
		}
	}
	// The paper's form: one pair, and hidden layers so wide that it does.
	if s := o.structure(); (s == Auto || s == Bilinear) && o.NumTerms == 0 && o.Widen == 0 && o.Start != Fitted {
		for _, n := range trainedWidths {
			out = append(out, trainingCandidate{fmt.Sprintf("one pair, %d times as wide", n), pairsOnly, 1, Random, n})
		}
	}
	return out
}

// trainedWidths are the widths that trials of a plan for training compare.
var trainedWidths = []int{2, 4}

// planForTraining is the plan for a training that follows. With Options.Trial
// every candidate is made and judged by it; without, low rank from a fitted
// start is taken where the budget leaves layers enough rank, and pairs from a
// random one where it does not or low rank is not asked for.
func (p *planner) planForTraining(ctx context.Context) (*Plan, error) {
	best := p.mixed()
	table := best.tradeoff()
	if _, err := best.choose(table); err != nil {
		return nil, err
	}
	list := trainingCandidates(&p.opts)
	if p.opts.Trial == nil {
		return p.trainingPlan(ctx, p.ruled(list), table)
	}
	var won *Plan
	least := math.Inf(1)
	seen := map[string]bool{}
	for n, c := range list {
		p.pace.expect(paceTraining, float64(len(list)-n))
		p.pace.step(paceTraining, "try "+c.what+", "+string(c.start), 1)
		from := p
		if c.widen > 0 {
			if from = p.widened(c.widen, false); from == nil {
				continue
			}
		}
		out, err := from.trainingPlan(ctx, c, table)
		var infeasible *InfeasibleError
		if c.widen > 0 && errors.As(err, &infeasible) {
			continue
		}
		if err != nil {
			return nil, err
		}
		key := layersKey(out.Layers)
		if seen[key] {
			continue
		}
		seen[key] = true
		m, _, err := Apply(ctx, p.model, out, ApplyOptions{Pool: p.opts.Pool, Calibration: p.opts.Calibration})
		if err != nil {
			return nil, err
		}
		score, err := p.opts.Trial(ctx, m)
		if err != nil {
			return nil, err
		}
		if won == nil || score < least {
			won, least = out, score
		}
	}
	return won, nil
}

// drawn reports whether the plan is one of random starts by the rule alone, so
// that no fit is asked for.
func (p *planner) drawn() bool {
	_, ok := p.budget()
	return ok && p.opts.ForTraining && p.opts.Trial == nil && p.opts.NumTerms == 0 &&
		p.ruled(trainingCandidates(&p.opts)).start == Random
}

// ruled is the candidate that the budget speaks for.
func (p *planner) ruled(list []trainingCandidate) trainingCandidate {
	wanted := trainingCandidate{kind: lowRankOnly, start: Fitted}
	if p.meanRank() < leastRank || !slices.ContainsFunc(list, func(c trainingCandidate) bool { return c.kind == lowRankOnly }) {
		wanted = trainingCandidate{kind: pairsOnly, start: Random}
	}
	best, points := list[0], -1
	for _, c := range list {
		n := 0
		if c.widen > 0 {
			continue // for trials alone
		}
		if c.kind == wanted.kind {
			n += 2
		}
		if c.start == wanted.start {
			n++
		}
		if n > points {
			best, points = c, n
		}
	}
	return best
}

// meanRank is the rank of layers that share the budget evenly, on average over
// their parameters; +Inf where there is no budget to tell from.
func (p *planner) meanRank() float64 {
	b, ok := p.budget()
	if !ok {
		return math.Inf(1)
	}
	room, sum, of := float64(b-p.params), 0.0, 0.0
	for _, w := range p.found.weights {
		if p.left[w] == "" {
			room += float64(w.Params())
		}
		if p.left[w] == "" && !isTable(w) {
			m, n := float64(w.Rows), float64(w.Cols)
			sum += m * n * (m * n / (m + n))
			of += m * n
		}
	}
	if of == 0 {
		return math.Inf(1)
	}
	return sum / of * room / of
}

// trainingPlan shares the budget out over what a candidate admits. Low rank that
// is fitted to data is chosen as without training: training keeps what is good.
func (p *planner) trainingPlan(ctx context.Context, c trainingCandidate, table []Tradeoff) (*Plan, error) {
	if c.kind == lowRankOnly && c.start == Fitted && p.opts.Calibration != nil {
		low := *p
		low.opts.Structure = LowRank
		best, a, _, err := low.chooseFitted(ctx)
		if err != nil {
			return nil, err
		}
		best.opts.Structure, best.opts.Start, best.opts.ForTraining = p.opts.Structure, c.start, true
		return best.plan(a, table), nil
	}
	if b, ok := p.budget(); ok && c.start == Random && c.kind == pairsOnly && p.opts.NumTerms == 0 && p.opts.Widen < 2 && c.widen == 0 {
		if curves, ok := p.shares(b-p.fixed, c.most); ok {
			some := *p
			some.curves, some.opts.Start, some.opts.ForTraining = curves, c.start, true
			return some.plan(make(allocation, len(curves)), table), nil
		}
	}
	some := p.only(func(_ int, pt *point) bool {
		return c.kind.admits(pt) && (c.most == 0 || pt.dense() || pt.shape.IsLowRank() || pt.terms <= c.most)
	})
	a, err := some.choose(table)
	if err != nil {
		// The kind does not meet the budget in every layer: any does.
		some = p.mixed()
		if a, err = some.choose(table); err != nil {
			return nil, err
		}
	}
	some.opts.Start, some.opts.ForTraining = c.start, true
	return some.plan(a, table), nil
}
