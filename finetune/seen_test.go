package finetune

import "testing"

// Which states take the place of the best so far.
func TestBetter(t *testing.T) {
	for _, c := range []struct {
		what         string
		seen, byLoss bool
		best         int // epoch
		bestMetric   float64
		train, hold  float64
		loss         float64
		want         bool
	}{
		{"more", false, false, 0, 0.90, 0.95, 0.91, 1, true},
		{"less", false, false, 0, 0.90, 0.95, 0.89, 0.1, false},
		{"as much, at less loss", false, false, 0, 0.90, 0.95, 0.90, 0.4, true},
		{"as much, at more loss", false, false, 0, 0.90, 0.95, 0.90, 0.6, false},
		{"less loss", false, true, 0, 0.90, 0.5, 0.91, 0.4, true},
		{"less loss, less agreement than the start's", false, true, 0, 0.90, 0.5, 0.89, 0.4, false},
		{"more loss", false, true, 0, 0.90, 0.5, 0.95, 0.6, false},
		{"seen: as good on what each has seen", true, false, 0, 0.90, 0.90, 0.87, 1, true},
		{"seen: worse on what each has seen", true, false, 0, 0.90, 0.89, 0.87, 1, false},
		{"seen: more errors than that explains", true, false, 0, 0.90, 0.99, 0.84, 1, false},
		{"seen: more than the first epoch kept", true, false, 1, 0.87, 0.99, 0.88, 1, true},
		{"seen: less than the first epoch kept", true, false, 1, 0.87, 0.99, 0.86, 1, false},
		{"seen, by loss: as ever", true, true, 0, 0.90, 0.99, 0.91, 0.6, false},
	} {
		start, least := 0.90, 0.5
		k := &Trainer{o: Options{Seen: c.seen}, byLoss: c.byLoss}
		k.History = History{StartMetric: &start, BestMetric: &c.bestMetric, BestLoss: &least, BestEpoch: c.best, Metric: "r2"}
		keep, best := k.better(&Epoch{TrainMetric: &c.train, Metric: &c.hold, HoldoutLoss: &c.loss})
		if keep != c.want || best != keep {
			t.Errorf("%s: kept %v, best %v", c.what, keep, best)
		}
	}
	k := &Trainer{o: Options{Seen: true}}
	start, hold, loss := 0.9, 0.9, 0.1
	k.History = History{StartMetric: &start, BestMetric: &start, BestLoss: &loss}
	if keep, _ := k.better(&Epoch{Metric: &hold, HoldoutLoss: &loss}); keep {
		t.Error("seen: a state comes out whose metric in training is no number")
	}
}

// Of trained states the latest one comes out that is within a standard error of
// the best: of .90 on 900 rows that is .01.
func TestBetterOfSeenIsLate(t *testing.T) {
	first, top, none, loss := 0.87, 0.90, 0.6, 0.5
	k := &Trainer{o: Options{Seen: true}}
	k.History = History{StartMetric: &top, BestMetric: &first, BestLoss: &loss, BestEpoch: 2, Metric: "accuracy", Holdout: 900,
		Epochs: []Epoch{{Metric: &none}, {Metric: &first}, {Metric: &top}, {}}}
	for metric, want := range map[float64][2]bool{0.889: {false, false}, 0.891: {true, false}, 0.90: {true, false}, 0.901: {true, true}} {
		if keep, best := k.better(&Epoch{Metric: &metric, HoldoutLoss: &loss}); keep != want[0] || best != want[1] {
			t.Errorf("%v after %v: kept %v, best %v, wanted %v", metric, top, keep, best, want)
		}
	}
}
