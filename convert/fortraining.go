package convert

import (
	"context"
	"math"
)

// randomFrom is the ratio from which on balanced pairs from a random start
// train better than low rank from a fitted one, where no trial tells: on the
// repository's network, fine-tuned, low rank is ahead at 32 (.883 against .877
// of accuracy) and behind at 64 (.838 against .872).
const randomFrom = 45

// A trainingCandidate is a plan that may train best.
type trainingCandidate struct {
	what  string
	kind  leaningKind
	most  int // terms; 0: as many as the budget allows
	start Start
}

// trainingCandidates is what is compared for a training that follows, within
// what the options leave open.
func trainingCandidates(o *Options) []trainingCandidate {
	kinds := []trainingCandidate{{"low rank", lowRankOnly, 0, ""}, {"pairs, many terms", pairsOnly, 0, ""},
		{"pairs, few terms", pairsOnly, 4, ""}, {"one pair", pairsOnly, 1, ""}}
	switch o.structure() {
	case LowRank:
		kinds = kinds[:1]
	case Terms:
		kinds = kinds[1:]
	case Bilinear:
		kinds = kinds[3:]
	}
	if o.NumTerms > 0 { // the curves hold that number alone
		kinds = []trainingCandidate{{"the terms asked for", anyKind, 0, ""}}
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
	return out
}

// planForTraining is the plan for a training that follows. With Options.Trial
// every candidate is made and judged by it; without, low rank from a fitted
// start is taken up to a ratio, and pairs from a random one beyond.
func (p *planner) planForTraining(ctx context.Context) (*Plan, error) {
	best := p.mixed()
	table := best.tradeoff()
	if _, err := best.choose(table); err != nil {
		return nil, err
	}
	list := trainingCandidates(&p.opts)
	if p.opts.Trial == nil {
		return p.trainingPlan(p.ruled(list), table)
	}
	var won *Plan
	least := math.Inf(1)
	seen := map[string]bool{}
	for n, c := range list {
		if p.opts.Progress != nil {
			p.opts.Progress("try "+c.what+", "+string(c.start), n, len(list))
		}
		out, err := p.trainingPlan(c, table)
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

// ruled is the candidate that the ratio speaks for.
func (p *planner) ruled(list []trainingCandidate) trainingCandidate {
	ratio := p.opts.Ratio
	if b, ok := p.budget(); ok && b > 0 {
		ratio = float64(p.params) / float64(b)
	}
	wanted := trainingCandidate{kind: lowRankOnly, start: Fitted}
	if ratio >= randomFrom {
		wanted = trainingCandidate{kind: pairsOnly, start: Random}
	}
	best, points := list[0], -1
	for _, c := range list {
		n := 0
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

// trainingPlan shares the budget out over what a candidate admits.
func (p *planner) trainingPlan(c trainingCandidate, table []Tradeoff) (*Plan, error) {
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
