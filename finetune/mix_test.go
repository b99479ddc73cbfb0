package finetune

import (
	"context"
	"errors"
	"math"
	"testing"

	"bilinc/convert/dataset"
	"bilinc/runtime/tensor"
)

// Every row of a blend is a·row + (1−a)·another one, by the plain formula, the
// same for all inputs; the part of rows that are left alone is as asked for.
func TestBlend(t *testing.T) {
	const n, each = 400, 3
	for _, share := range []float64{1, 0.25} {
		x, y := tensor.New(tensor.Float32, n, each), tensor.New(tensor.Float64, n)
		for k := range n {
			for i := range each {
				tensor.Data[float32](x)[k*each+i] = float32(k * (i + 1))
			}
			tensor.Data[float64](y)[k] = float64(k)
		}
		tr := &Trainer{o: Options{Seed: 3, Mix: share}}
		tr.blend(&dataset.Batch{Inputs: []*tensor.Tensor{x, y}, Rows: n, Padded: n})
		kept, sum := 0, 0.0
		for k, v := range tensor.Data[float64](y) {
			if v == float64(k) {
				kept++
			}
			if !(v >= 0 && v <= n-1) {
				t.Fatalf("row %d is %g, no blend of two rows", k, v)
			}
			sum += v
			for i, w := range tensor.Data[float32](x)[k*each : (k+1)*each] {
				if want := v * float64(i+1); math.Abs(float64(w)-want) > 1e-4*(1+want) {
					t.Errorf("row %d: %g in one input, %g in the other", k, v, w)
				}
			}
		}
		if want := (1 - share) * n; math.Abs(float64(kept)-want) > 40 {
			t.Errorf("share %g: %d of %d rows are left alone", share, kept, n)
		}
		if mean := sum / n; math.Abs(mean-(n-1)/2.) > 25 {
			t.Errorf("share %g: the mean moved to %g", share, mean)
		}
		again := tensor.New(tensor.Float64, n)
		for k := range n {
			tensor.Data[float64](again)[k] = float64(k)
		}
		tr.blend(&dataset.Batch{Inputs: []*tensor.Tensor{again}, Rows: n, Padded: n})
		if string(again.Bytes()) != string(y.Bytes()) {
			t.Errorf("share %g: the same run blends differently", share)
		}
		tr.Runs++
		tr.blend(&dataset.Batch{Inputs: []*tensor.Tensor{again}, Rows: n, Padded: n})
		if string(again.Bytes()) == string(y.Bytes()) {
			t.Errorf("share %g: another run blends the same", share)
		}
	}
}

// Rows are blended where a teacher is all there is, unless that is refused, and
// never where there are targets.
func TestBlendsWhereItMay(t *testing.T) {
	m, groups := bilinear(t, 1)
	for _, c := range []struct {
		labels  bool
		mix     float64
		blended bool
		fails   bool
	}{
		{false, 0, true, false}, {false, 0.5, true, false}, {false, -1, false, false},
		{true, 0, false, false}, {true, 1, false, true}, {true, -1, false, false},
	} {
		tr, err := New(m, m, blendData(t, c.labels), Options{Epochs: 1, Groups: groups, Mix: c.mix})
		if errors.Is(err, ErrOptions) != c.fails || err != nil != c.fails {
			t.Errorf("%+v: error %v", c, err)
		}
		if err != nil {
			continue
		}
		if tr.mix != c.blended {
			t.Errorf("%+v: blended %v", c, tr.mix)
		}
		if _, _, err := tr.Run(context.Background()); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// blendData is rows with or without targets.
func blendData(t *testing.T, labels bool) Data {
	t.Helper()
	d := blobs(40, 64, 4, 1)
	if !labels {
		d.labels = nil
	}
	return d
}
