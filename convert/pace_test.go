package convert

import (
	"context"
	"math"
	"testing"
	"time"
)

// An estimate is right once a step of each kind was seen, however unlike their
// costs are: what the shares say is left is what then passes.
func TestPace(t *testing.T) {
	now := time.Unix(0, 0)
	type shown struct {
		at, share float64
		total     int
	}
	var seen []shown
	p := newPace(func(_ string, done, total int) {
		seen = append(seen, shown{now.Sub(time.Unix(0, 0)).Seconds(), float64(done) / paceSteps, total})
	}, func() time.Time { return now })
	// A multiplication takes ten times as long in the curves as in trials, which is what work alone does not tell.
	rate := map[paceKind]float64{paceRuns: 1, paceCurves: 10, paceLow: 0.5, pacePairs: 1}
	steps := []struct {
		kind paceKind
		work float64
	}{{paceRuns, 2}, {paceCurves, 1}, {paceCurves, 10}, {paceLow, 3}, {paceLow, 3}, {pacePairs, 40}, {pacePairs, 40}, {pacePairs, 40}}
	for _, s := range steps {
		p.expect(s.kind, p.left[s.kind]+s.work)
	}
	p.expect(pacePairs, p.left[pacePairs]+1000) // what a search may take, and does not
	for i, s := range steps {
		if i == 6 {
			p.expect(pacePairs, 80)
		}
		p.step(s.kind, "step", s.work)
		now = now.Add(time.Duration(s.work * rate[s.kind] * float64(time.Second)))
	}
	p.end()
	end := now.Sub(time.Unix(0, 0)).Seconds()
	for i, s := range seen {
		if s.total != paceSteps {
			t.Errorf("step %d: of %d", i, s.total)
		}
		if i > 0 && s.share < 0 || s.share > 1 {
			t.Errorf("step %d: a share of %g", i, s.share)
		}
		if i >= 6 { // every kind was seen, and no more is expected than comes
			if left := s.at/s.share - s.at; math.Abs(left-(end-s.at)) > 0.02*end {
				t.Errorf("step %d: %.1f s are left, told were %.1f", i, end-s.at, left)
			}
		}
	}
	if seen[0].share != 0 {
		t.Errorf("the first step begins at %g", seen[0].share)
	}
}

// Trainings tell nothing before the first has ended, and then what they take.
func TestPaceOfTrainings(t *testing.T) {
	now := time.Unix(0, 0)
	var totals, shares []int
	p := newPace(func(_ string, done, total int) { totals, shares = append(totals, total), append(shares, done) }, func() time.Time { return now })
	p.step(paceCurves, "fit", 1e9)
	now = now.Add(10 * time.Second)
	for i := range 3 {
		p.expect(paceTraining, float64(3-i))
		p.step(paceTraining, "try", 1)
		now = now.Add(30 * time.Second)
	}
	if totals[1] != 0 || totals[2] != paceSteps || totals[3] != paceSteps {
		t.Errorf("totals %v", totals)
	}
	if shares[2] != 400 || shares[3] != 700 { // 40 and 70 of 100 seconds
		t.Errorf("shares %v", shares)
	}
	var none *pace
	none.expect(paceLow, 1)
	none.step(paceLow, "x", 1)
	none.end()
	if newPace(nil, time.Now) != nil {
		t.Error("a pace without a report")
	}
}

// A plan and what carries it out tell shares of the time that never pass 1, of
// the kinds of work that there are.
func TestProgressOfAPlan(t *testing.T) {
	m := reluNet(t, 24, 40, 40, 4)
	c := calibrated(t, m, correlated(400, 24, 1), 1)
	what := map[string]int{}
	report := func(w string, done, total int) {
		if total != paceSteps || done < 0 || done > total {
			t.Errorf("%s: %d of %d", w, done, total)
		}
		what[w]++
	}
	p := mustPlan(t, m, Options{Ratio: 3, Calibration: c, Progress: report})
	for _, w := range []string{"statistics", "fit n_h0", "fit n_h1", "fit n_h2", "compare plans", "fit the best plans"} {
		if what[w] == 0 {
			t.Errorf("nothing is told of %q: %v", w, what)
		}
	}
	for _, o := range []ApplyOptions{{Progress: report, Calibration: c}, {Progress: report}} {
		clear(what)
		mustApplyWith(t, m, p, o)
		if what["n_h0"] != 1 {
			t.Errorf("told of carrying it out: %v", what)
		}
	}
}

// A cancelled fit ends between steps, and says so.
func TestCancelledFit(t *testing.T) {
	m := reluNet(t, 24, 40, 40, 4)
	for _, at := range []string{"statistics", "fit n_h1", "compare plans", "fit the best plans"} {
		ctx, cancel := context.WithCancel(context.Background())
		_, err := NewPlan(ctx, m, Options{Ratio: 3, Calibration: calibrated(t, m, correlated(400, 24, 1), 1),
			Progress: func(what string, _, _ int) {
				if what == at {
					cancel()
				}
			}})
		if ctx.Err() == nil || err == nil {
			t.Errorf("cancelled at %q: error %v", at, err)
		}
		cancel()
	}
}
