package convert

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"bilinc/factorize"
	"bilinc/runtime/tensor"
)

// A score beats a safe one by more than a standard error of the difference over
// the samples, and never where more classes changed.
func TestBeats(t *testing.T) {
	even := func(mean, spread float64, n int) *score {
		s := &score{mean: mean, agree: 0.9}
		for i := range n {
			s.rows = append(s.rows, mean+spread*float64(2*(i%2)-1))
		}
		return s
	}
	with := func(s *score, agree float64) *score { c := *s; c.agree = agree; return &c }
	for _, c := range []struct {
		what    string
		s, safe *score
		want    bool
	}{
		{"the same", even(1, 0, 100), even(1, 0, 100), false},
		{"worse", even(1.1, 0, 100), even(1, 0, 100), false},
		{"better in every row", even(0.9, 0, 100), even(1, 0, 100), true},
		{"better, fewer classes agree", with(even(0.5, 0, 100), 0.89), even(1, 0, 100), false},
		{"better, more classes agree", with(even(0.9, 0, 100), 0.95), even(1, 0, 100), true},
		// A difference of ±1 has a standard error of √(100/99)/10 over 100 rows.
		{"by less than chance", even(0.95, 1, 100), even(1, 0, 100), false},
		{"by more than chance", even(0.85, 1, 100), even(1, 0, 100), true},
		{"rows that move together are no chance", even(0.95, 1, 100), even(1, 1, 100), true},
		{"the same gap over more rows", even(0.95, 1, 1000), even(1, 0, 1000), true},
		{"without rows the mean decides", &score{mean: 0.9, agree: 1}, &score{mean: 1, agree: 1}, true},
		{"rows of another number", &score{mean: 0.9, agree: 0.9, rows: []float64{9, 9}}, even(1, 0, 100), true},
		{"one row", even(0.99, 0, 1), even(1, 0, 1), true},
		{"a score that is none", &score{mean: math.NaN(), agree: 1}, even(1, 0, 10), false},
		{"an infinite one", &score{mean: math.Inf(1), agree: 1}, even(1, 0, 10), false},
		{"against an infinite one", even(1, 0, 10), with(&score{mean: math.Inf(1)}, 0.1), true},
	} {
		if got := c.s.beats(c.safe); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}

// The divergence is the sum that defines it, and 0 between equals.
func TestDivergence(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		y, z := make([]float64, 5), make([]float64, 5)
		for i := range y {
			y[i], z[i] = 3*rng.NormFloat64(), 3*rng.NormFloat64()
		}
		p, q := softmax(y), softmax(z)
		want := 0.0
		for i := range p {
			want += p[i] * math.Log(p[i]/q[i])
		}
		if got := divergence(logits, y, z); math.Abs(got-want) > 1e-9 {
			t.Errorf("of logits %v, want %v", got, want)
		}
		if got := divergence(probabilities, p, q); math.Abs(got-want) > 1e-9 {
			t.Errorf("of probabilities %v, want %v", got, want)
		}
		if got := divergence(logits, y, y); math.Abs(got) > 1e-12 {
			t.Errorf("from itself %v", got)
		}
	}
	if got := divergence(probabilities, []float64{1, 0}, []float64{0, 1}); !(got > 20) || math.IsInf(got, 0) {
		t.Errorf("where nothing is left of a probability: %v", got)
	}
}

// A scorer gives the means over the rows that count, of every kind of output,
// and what each row adds.
func TestScorer(t *testing.T) {
	value := func(rows int, v ...float32) tensor.Value { return tensor.ValueOf(tensor.Of(v, rows, len(v)/rows)) }
	s := &scorer{rows: make([][]float64, 2), devs: make([]deviation, 2)}
	// Two classes in three rows, of which the last one only fills the batch.
	if err := s.add(0, value(3, 2, -1, 0, 1, 5, 0), value(3, 2, -1, 1, 0, 0, 5), 2, 3); err != nil {
		t.Fatal(err)
	}
	// One number a row.
	if err := s.add(1, value(3, 1, 3, 100), value(3, 1.5, 3, 0), 2, 3); err != nil {
		t.Fatal(err)
	}
	got := s.finish()
	kl := divergence(logits, []float64{0, 1}, []float64{1, 0})
	number := 0.25 / 2 // the variance of 1 and 3, times two rows, is 2
	if want := kl/2 + number; math.Abs(got.mean-want) > 1e-7 {
		t.Errorf("mean %v, want %v", got.mean, want)
	}
	if got.agree != 0.5 {
		t.Errorf("%v of the classes agree, want 0.5", got.agree)
	}
	if len(got.rows) != 2 || math.Abs(got.rows[0]-2*number) > 1e-7 || math.Abs(got.rows[1]-kl) > 1e-7 {
		t.Errorf("rows %v, want %v and %v", got.rows, 2*number, kl)
	}
	// Outputs that are not of samples have a mean and no rows.
	s = &scorer{rows: make([][]float64, 2), devs: make([]deviation, 2)}
	for k, v := range []tensor.Value{value(2, 1, 2, 3, 4, 5, 6), value(4, 1, 0, 0, 1, 1, 0, 0, 1)} {
		if err := s.add(k, v, v, 2, 2); err != nil {
			t.Fatal(err)
		}
	}
	s.rows[1] = append(s.rows[1], 0)
	if got := s.finish(); got.rows != nil || got.mean != 0 || got.agree != 1 {
		t.Errorf("of other numbers of rows: %+v", got)
	}
}

// A model scores 0 against itself and at full rank, and more at rank 1.
func TestScoreOfModels(t *testing.T) {
	ctx := context.Background()
	m := reluNet(t, 12, 16, 16, 4)
	c := calibrated(t, m, correlated(300, 12, 1), 1)
	same, err := c.score(ctx, m, 1)
	if err != nil {
		t.Fatal(err)
	}
	if same.mean > 1e-9 || same.agree != 1 {
		t.Errorf("against itself %v, %v agree", same.mean, same.agree)
	}
	for _, c2 := range []struct {
		terms       int
		least, most float64
	}{{16, 0, 1e-6}, {1, 0.1, 100}} {
		small, _ := mustApply(t, m, mustPlan(t, m, Options{Structure: LowRank, NumTerms: c2.terms}))
		s, err := c.score(ctx, small, 1)
		if err != nil {
			t.Fatal(err)
		}
		if !(c2.least <= s.mean && s.mean <= c2.most) || len(s.rows) != len(same.rows) || (s.agree == 1) != (c2.terms == 16) {
			t.Errorf("rank %d: %v, %v agree, %d rows", c2.terms, s.mean, s.agree, len(s.rows))
		}
		// The original's outputs are kept from the first time on.
		again, err := c.score(ctx, small, 1)
		if err != nil || again.mean != s.mean || c.wanted == nil {
			t.Errorf("rank %d: %v and again %v, error %v", c2.terms, s.mean, again, err)
		}
	}
}

// Of a wide layer's output the first copies stand for the original's.
func TestFirstCopies(t *testing.T) {
	by := factorize.Widening{M1: 2, M2: 3, S1: 2, S2: 2}
	v := make([]float32, 2*24)
	for i := range v {
		from, copied := by.Ancestor(i % 24)
		v[i] = float32(100*(i/24) + 10*copied + from)
	}
	got, err := firstCopies(tensor.ValueOf(tensor.Of(v, 1, 2, 24)), by)
	if err != nil {
		t.Fatal(err)
	}
	wantClose(t, "copies", got.Tensor, tensor.Of([]float32{0, 1, 2, 3, 4, 5, 100, 101, 102, 103, 104, 105}, 1, 2, 6), 0)
	other := tensor.ValueOf(tensor.Of(v, 2, 24))
	if got, err := firstCopies(other, factorize.Widening{M1: 5, M2: 1, S1: 2, S2: 1}); err != nil || got.Tensor != other.Tensor {
		t.Errorf("another width: %v, %v", got, err)
	}
}

// With a number of terms, trials choose between pairs and low rank of about the
// same size; every layer has that many, and auto is not behind low rank.
func TestTermsAreChosenByTrials(t *testing.T) {
	ctx := context.Background()
	m := reluNet(t, 36, 36, 36, 4)
	x := correlated(600, 36, 1)
	score := func(s Structure) (*score, *Plan) {
		c := calibrated(t, m, x, 1)
		trials := 0
		p := mustPlan(t, m, Options{Structure: s, NumTerms: 3, Calibration: c, Progress: func(what string, _, _ int) {
			if what == "compare plans" {
				trials++
			}
		}})
		if s == Auto && trials < 3 {
			t.Errorf("%d trials", trials)
		}
		small, _ := mustApplyWith(t, m, p, ApplyOptions{Calibration: c})
		got, err := c.score(ctx, small, 1)
		if err != nil {
			t.Fatal(err)
		}
		return got, p
	}
	low, _ := score(LowRank)
	auto, p := score(Auto)
	if auto.mean > low.mean*(1+1e-9) {
		t.Errorf("auto scores %v, low rank %v", auto.mean, low.mean)
	}
	for _, l := range p.Layers {
		most := balancedSlack * float64(3*factorize.Balanced(l.Out, l.In).Params(1))
		if l.Terms != 3 || float64(l.ParamsAfter) > most {
			t.Errorf("layer %q has %d terms and %d parameters, want 3 and at most %g", l.Name, l.Terms, l.ParamsAfter, most)
		}
	}
}
