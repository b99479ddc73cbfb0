package convert

import (
	"cmp"
	"math"
	"slices"

	"bilinc/convert/match"
	"bilinc/factorize"
)

// A share is what one weight gets where training follows and the factors are
// drawn at random: no error of a fit says then what a layer is worth.
type share struct {
	weight *match.Weight
	root   float64 // √(the weight's parameters), by which budgets are shared out
	shape  form
	terms  int // 0: dense
	most   int
	extra  int
}

// shareMACs is the largest part of a dense layer's multiplications that its
// factors may take; a layer that is compressed is to be quicker too.
const shareMACs = 0.5

// shareSlack is how many more parameters than the least a shape may need.
const shareSlack = 1.1

func (s *share) params() int64 {
	if s.terms == 0 {
		return int64(s.weight.Params())
	}
	return int64(s.shape.Params(s.terms) + s.extra)
}

// shares gives curves of one point each: every weight has parameters in
// proportion to the root of the dense weight's, but stays dense where that is
// no more. A share becomes pairs of the most balanced shape that is quick
// enough for that many terms, no more than most of them (0: any number). ok is false
// where not even one term each fits.
func (p *planner) shares(budget int64, most int) (curves []*curve, ok bool) {
	all := make([]*share, len(p.curves))
	for i, c := range p.curves {
		all[i] = &share{weight: c.weight, root: math.Sqrt(float64(c.weight.Params())), most: most,
			extra: extraParams(c.weight, false)}
	}
	left := split(all, budget)
	for _, s := range all {
		left -= s.params()
	}
	if left = settle(all, left); left < 0 {
		return nil, false
	}
	for _, s := range all {
		pt := point{params: int(s.params())}
		if s.terms > 0 {
			pt.shape, pt.kernel, pt.terms, pt.err = s.shape.Shape, s.shape.kernel, s.terms, 1
		}
		curves = append(curves, &curve{weight: s.weight, scale: 1, points: []point{pt}})
	}
	return curves, true
}

// split shares a budget out and gives it back. Weights that are no larger than
// their share stay dense, and the others share what they leave.
func split(all []*share, budget int64) int64 {
	rest, left := slices.Clone(all), float64(budget)
	for again := true; again; {
		again = false
		sum := 0.0
		for _, s := range rest {
			sum += s.root
		}
		rest = slices.DeleteFunc(rest, func(s *share) bool {
			if s.root*s.root > left*s.root/sum {
				return false
			}
			left -= s.root * s.root
			again = true
			return true
		})
		if again {
			continue
		}
		for _, s := range rest {
			s.take(int(left * s.root / sum))
		}
	}
	return budget
}

// take decides the shape for about so many parameters, and its terms, one at
// least. A weight without factors that are smaller stays dense.
func (s *share) take(params int) {
	rows, cols := s.weight.Rows, s.weight.Cols
	shapes := slices.DeleteFunc(forms(s.weight), func(x form) bool {
		return x.IsLowRank() || !fits(s.weight, x.Shape, 1)
	})
	if len(shapes) == 0 {
		return
	}
	least := math.Inf(1)
	for _, x := range shapes {
		least = min(least, float64(x.Params(1)))
	}
	limit := shareMACs * float64(rows) * float64(cols)
	terms := func(x form) int {
		n := max(1, x.TermsWithin(params-s.extra))
		if s.most > 0 {
			n = min(n, s.most)
		}
		return n
	}
	over := func(x form) int { // the lesser the better
		n := 0
		if float64(x.Params(1)) > shareSlack*least {
			n += 2
		}
		if float64(x.MACs(terms(x))) > limit {
			n++
		}
		return n
	}
	s.shape = slices.MinFunc(shapes, func(a, b form) int {
		return cmp.Or(
			cmp.Compare(over(a), over(b)),
			cmp.Compare(imbalance(a.Shape), imbalance(b.Shape)),
			cmp.Compare(a.Params(1), b.Params(1)),
		)
	})
	s.terms = terms(s.shape)
}

// imbalance is 0 for two factors of the same size and grows with the ratios of
// their sides.
func imbalance(s factorize.Shape) float64 {
	return math.Abs(math.Log(float64(s.M1)/float64(s.M2))) + math.Abs(math.Log(float64(s.N1)/float64(s.N2)))
}

// settle brings what is left of the budget near 0: it takes terms away from
// the weights with the most of their share while too much is spent, and adds
// them to those with the least where one fits. It gives what is left then.
func settle(all []*share, left int64) int64 {
	used := func(s *share) float64 { return float64(s.params()) / s.root }
	pick := func(may func(*share) bool, better func(a, b float64) bool) *share {
		var best *share
		for _, s := range all {
			if s.terms > 0 && may(s) && (best == nil || better(used(s), used(best))) {
				best = s
			}
		}
		return best
	}
	for left < 0 {
		s := pick(func(s *share) bool { return s.terms > 1 }, func(a, b float64) bool { return a > b })
		if s == nil {
			return left
		}
		s.terms--
		left += int64(s.shape.Params(1))
	}
	for {
		s := pick(func(s *share) bool {
			return int64(s.shape.Params(1)) <= left && s.terms < s.shape.MaxTerms() && (s.most == 0 || s.terms < s.most) &&
				fits(s.weight, s.shape.Shape, s.terms+1)
		}, func(a, b float64) bool { return a < b })
		if s == nil {
			return left
		}
		s.terms++
		left -= int64(s.shape.Params(1))
	}
}
