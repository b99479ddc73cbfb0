package finetune

import (
	"math"
	"testing"

	"bilinc/runtime/tensor"
)

// A weight that no gradient reaches shrinks by what the options say, however the
// rate goes and however many steps there are; a bias does not.
func TestDefaultDecay(t *testing.T) {
	labelled := blobs(640, 8, 4, 0.7)
	clear(tensor.Data[float32](labelled.x)) // of inputs of 0 comes no gradient of the first matrix
	unlabelled := &rows{x: labelled.x}
	m := mlp(t, 0, 8, 16, 4)
	for name, c := range map[string]struct {
		data *rows
		o    Options
		want float64
	}{
		"cosine":       {labelled, Options{}, math.Exp(-shrinkage)},
		"longer":       {labelled, Options{Epochs: 7}, math.Exp(-shrinkage)},
		"warm-up":      {labelled, Options{Warmup: 0.3, LR: 0.02}, math.Exp(-shrinkage)},
		"step":         {labelled, Options{Schedule: Step}, math.Exp(-shrinkage)},
		"asked for":    {labelled, Options{Decay: 0.5, LR: 0.01, Schedule: Constant}, math.Pow(1-0.005, 3*20)},
		"none":         {labelled, Options{Decay: -1}, 1},
		"adam":         {labelled, Options{Rule: Adam}, 1},
		"sgd":          {labelled, Options{Rule: SGD}, 1},
		"teacher only": {unlabelled, Options{}, 1},
	} {
		o := c.o
		o.Batch, o.Holdout = 32, -1
		if o.Epochs == 0 {
			o.Epochs = 3
		}
		out, _ := train(t, m, m, c.data, o)
		before, after := m.Graph.Value("fc1.weight").Init(), out.Graph.Value("fc1.weight").Init()
		for i, x := range tensor.Data[float32](before) {
			if y := tensor.Data[float32](after)[i]; math.Abs(float64(y/x)-c.want) > 0.003 {
				t.Errorf("%s: a weight went from %g to %g, %.4f of it, wanted %.4f", name, x, y, y/x, c.want)
				break
			}
		}
	}
}
