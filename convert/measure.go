package convert

import (
	"context"
	"fmt"
	"slices"

	"bilinc/runtime/graph"
)

// Measure sets the errors of layers and outputs in r, on the rows held out, to
// those of small: a model that Apply made, perhaps trained since.
func (c *Calibration) Measure(ctx context.Context, small *graph.Model, r *Report) error {
	var layers, names []string
	by := map[string]*LayerReport{}
	for i := range r.Layers {
		l := &r.Layers[i]
		if l.Action == ActBilinear || l.Action == ActLowRank || l.Action == ActDense && l.ParamsAfter != l.ParamsBefore {
			by[l.Name] = l
		}
	}
	for _, l := range c.found.layers {
		if by[l.Name] != nil {
			layers, names = append(layers, l.Name), append(names, l.Y.Name())
		}
	}
	outputs := outputNames(c.model)
	errs, err := c.relativeErrors(ctx, small, append(names, outputs...))
	if err != nil {
		return err
	}
	for i, name := range layers {
		if e := errs[names[i]]; e != nil {
			by[name].Error = *e
		}
	}
	r.Outputs = map[string]*OutputReport{}
	for i, n := range outputs {
		name := c.model.Graph.Outputs[i].Name()
		r.Outputs[name] = &OutputReport{RelError: errs[n]}
		if errs[n] == nil {
			w := fmt.Sprintf("output %q is not verified: it is random, constant or not of numbers", name)
			if !slices.Contains(r.Warnings, w) {
				r.Warnings = append(r.Warnings, w)
			}
		}
	}
	return nil
}
