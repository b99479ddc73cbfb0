package finetune

import (
	"math"
	"testing"

	"bilinc/runtime/tensor"
)

// A weight that no gradient reaches shrinks by what the options say, whatever the
// rate.
func TestDefaultDecay(t *testing.T) {
	labelled := blobs(640, 8, 4, 0.7)
	clear(tensor.Data[float32](labelled.x)) // of inputs of 0 comes no gradient of the first matrix
	unlabelled := &rows{x: labelled.x}
	m := mlp(t, 0, 8, 16, 4)
	const steps = 100 * 20
	constant := math.Pow(1-shrinking, steps)
	for name, c := range map[string]struct {
		data *rows
		o    Options
		want float64
	}{
		"constant":     {labelled, Options{Seen: true, Schedule: Constant}, constant},
		"cosine":       {labelled, Options{Seen: true}, math.Sqrt(constant)},
		"another rate": {labelled, Options{Seen: true, LR: 0.02}, math.Sqrt(constant)},
		"asked for":    {labelled, Options{Decay: 0.01, LR: 0.01, Schedule: Constant}, math.Pow(1-1e-4, steps)},
		"none":         {labelled, Options{Seen: true, Decay: -1}, 1},
		"not seen":     {labelled, Options{}, 1},
		"adam":         {labelled, Options{Seen: true, Rule: Adam}, 1},
		"sgd":          {labelled, Options{Seen: true, Rule: SGD}, 1},
		"teacher only": {unlabelled, Options{Seen: true}, 1},
	} {
		o := c.o
		o.Batch, o.Holdout, o.Epochs = 32, -1, 100
		out, _ := train(t, m, m, c.data, o)
		before, after := m.Graph.Value("fc1.weight").Init(), out.Graph.Value("fc1.weight").Init()
		for i, x := range tensor.Data[float32](before) {
			if y := tensor.Data[float32](after)[i]; math.Abs(float64(y/x)-c.want) > 1e-3 {
				t.Errorf("%s: a weight went from %g to %g, %.4f of it, wanted %.4f", name, x, y, y/x, c.want)
				break
			}
		}
	}
}
