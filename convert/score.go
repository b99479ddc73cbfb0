package convert

import (
	"context"
	"math"

	"bilinc/convert/dataset"
	"bilinc/runtime"
	"bilinc/runtime/graph"
	"bilinc/runtime/tensor"
)

// score is how far a model's outputs are from the original's on the selection
// rows: for scores of classes the mean Kullback-Leibler divergence, else the
// squared error relative to the variance; summed over the outputs.
func (c *Calibration) score(ctx context.Context, small *graph.Model) (float64, error) {
	names := outputNames(c.model)
	a, err := c.compile(c.model, names)
	if err != nil {
		return 0, err
	}
	b, err := c.compile(small, names)
	if err != nil {
		return 0, err
	}
	kinds := make([]outputKind, len(names))
	known := false
	sums, rows := make([]float64, len(names)), make([]int, len(names))
	devs := make([]deviation, len(names))
	programs := []*runtime.Program{a, b}
	err = c.each(ctx, c.selection(), programs, func(_ int, batch *dataset.Batch, out [][]tensor.Value) error {
		for k := range names {
			if a.Outputs()[k].Random || !measurable(out[0][k]) || !measurable(out[1][k]) {
				continue
			}
			y, err := tensor.Float64s(out[0][k].Tensor)
			if err != nil {
				return err
			}
			z, err := tensor.Float64s(out[1][k].Tensor)
			if err != nil {
				return err
			}
			if !known {
				kinds[k] = kindOf(out[0][k].Tensor, y)
			}
			if kinds[k] == numbers {
				devs[k].why = devs[k].add(out[0][k], out[1][k], batch.Rows, batch.Padded)
				continue
			}
			n := rowLength(kinds[k], out[0][k].Tensor)
			for r := 0; r < min(len(y)/n, batch.Rows); r++ {
				sums[k] += divergence(kinds[k], y[r*n:(r+1)*n], z[r*n:(r+1)*n])
				rows[k]++
			}
		}
		known = true
		return nil
	})
	if err != nil {
		return 0, err
	}
	total := 0.0
	for k := range names {
		switch {
		case rows[k] > 0:
			total += sums[k] / float64(rows[k])
		case devs[k].count > 0 && devs[k].why == "":
			if e, why := devs[k].relative(); why == "" {
				total += e
			}
		}
	}
	if math.IsNaN(total) {
		total = math.Inf(1)
	}
	return total, nil
}

// divergence is KL(p‖q) of the distributions that two rows stand for.
func divergence(kind outputKind, y, z []float64) float64 {
	p, q := y, z
	if kind == logits {
		p, q = softmax(y), softmax(z)
	}
	sum := 0.0
	for i := range p {
		if p[i] > 0 {
			sum += p[i] * (math.Log(p[i]) - math.Log(max(q[i], least*least)))
		}
	}
	return sum
}

// outputNames is the names of the outputs of m's graph.
func outputNames(m *graph.Model) []string {
	names := make([]string, len(m.Graph.Outputs))
	for i, v := range m.Graph.Outputs {
		names[i] = v.Name()
	}
	return names
}

// relativeErrors is ‖y−ỹ‖²/‖y − mean y‖² on the selection rows for values of
// both models; nil where it cannot be had.
func (c *Calibration) relativeErrors(ctx context.Context, small *graph.Model, names []string) (map[string]*float64, error) {
	a, err := c.compile(c.model, names)
	if err != nil {
		return nil, err
	}
	b, err := c.compile(small, names)
	if err != nil {
		return nil, err
	}
	devs := make([]deviation, len(names))
	err = c.each(ctx, c.selection(), []*runtime.Program{a, b}, func(_ int, batch *dataset.Batch, out [][]tensor.Value) error {
		for k := range devs {
			if devs[k].why == "" {
				devs[k].why = devs[k].add(out[0][k], out[1][k], batch.Rows, batch.Padded)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	errs := map[string]*float64{}
	for k, n := range names {
		if devs[k].why != "" || a.Outputs()[k].Random {
			continue
		}
		if e, why := devs[k].relative(); why == "" {
			errs[n] = &e
		}
	}
	return errs, nil
}
