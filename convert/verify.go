package convert

import (
	"context"
	"errors"
	"fmt"
	"math"

	"bilinc/convert/dataset"
	"bilinc/runtime"
	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// VerifyOptions says how Verify runs the models.
type VerifyOptions struct {
	Batch int          // rows per run; 0 is 64
	Pool  *kernel.Pool // nil: all cores
	Seed  uint64       // of random operators
}

// Verify runs both models on all rows of data and compares every output of
// the graph. Where one cannot be compared its RelError is nil and a warning
// says why: operators that cannot be run, or that are random. The error is for
// data or models that cannot be run at all, and for ctx.
func Verify(ctx context.Context, original, compressed *graph.Model, data *dataset.Bound, o VerifyOptions) (map[string]*OutputReport, []string, error) {
	if original == nil || original.Graph == nil || compressed == nil || compressed.Graph == nil || data == nil {
		return nil, nil, errors.New("verify: two models and data are wanted")
	}
	v := &verifier{opts: o, outputs: map[string]*OutputReport{}}
	for _, out := range original.Graph.Outputs {
		v.outputs[out.Name()] = &OutputReport{}
		if compressed.Graph.Value(out.Name()) == nil {
			return nil, nil, fmt.Errorf("the compressed model has no output %q", out.Name())
		}
	}
	var err error
	if v.a, err = v.compile(original); err != nil {
		return nil, nil, fmt.Errorf("original model: %w", err)
	}
	if v.a == nil {
		return v.outputs, v.warnings, nil
	}
	// What replaces layers is standard, so that the same outputs can be run.
	wanted := make([]*graph.Value, len(v.a.Outputs()))
	for i, p := range v.a.Outputs() {
		wanted[i] = compressed.Graph.Value(p.Name)
	}
	if v.b, err = runtime.Compile(compressed, v.options(wanted)); err != nil {
		return nil, nil, fmt.Errorf("compressed model: %w", err)
	}
	if err := v.run(ctx, data); err != nil {
		return nil, nil, err
	}
	v.finish()
	return v.outputs, v.warnings, nil
}

// verifier is the state of one call of Verify.
type verifier struct {
	opts     VerifyOptions
	a, b     *runtime.Program // of the outputs that can be run; nil: none
	sums     []*deviation
	outputs  map[string]*OutputReport
	warnings []string
}

func (v *verifier) warn(format string, args ...any) {
	v.warnings = append(v.warnings, fmt.Sprintf(format, args...))
}

func (v *verifier) options(outputs []*graph.Value) runtime.Options {
	return runtime.Options{Pool: v.opts.Pool, Seed: v.opts.Seed, Outputs: outputs}
}

// compile makes a program of those outputs of m that can be run, nil where
// none can, and warns of the others.
func (v *verifier) compile(m *graph.Model) (*runtime.Program, error) {
	p, err := runtime.Compile(m, v.options(nil))
	var missing *runtime.UnsupportedError
	if !errors.As(err, &missing) {
		return p, err
	}
	var able []*graph.Value
	for _, out := range m.Graph.Outputs {
		_, err := runtime.Compile(m, v.options([]*graph.Value{out}))
		switch {
		case errors.As(err, &missing):
			v.warn("output %q is not verified: %v", out.Name(), missing)
		case err != nil:
			return nil, err
		default:
			able = append(able, out)
		}
	}
	if len(able) == 0 {
		return nil, nil
	}
	return runtime.Compile(m, v.options(able))
}

// run feeds both programs.
func (v *verifier) run(ctx context.Context, data *dataset.Bound) error {
	batch := v.opts.Batch
	if batch == 0 {
		batch = 64
	}
	for range v.a.Outputs() {
		v.sums = append(v.sums, &deviation{})
	}
	for b, err := range data.Batches(batch) {
		if err != nil {
			return err
		}
		ya, err := runBatch(ctx, v.a, data.Inputs, b.Inputs)
		if err != nil {
			return fmt.Errorf("original model: %w", err)
		}
		yb, err := runBatch(ctx, v.b, data.Inputs, b.Inputs)
		if err != nil {
			return fmt.Errorf("compressed model: %w", err)
		}
		for i, s := range v.sums {
			if s.why == "" {
				s.why = s.add(ya[i], yb[i], b.Rows, b.Padded)
			}
		}
	}
	return nil
}

// runBatch runs p on inputs that are given by name.
func runBatch(ctx context.Context, p *runtime.Program, names []string, inputs []*tensor.Tensor) ([]tensor.Value, error) {
	in := make([]tensor.Value, len(p.Inputs()))
	for i, port := range p.Inputs() {
		for k, name := range names {
			if name == port.Name {
				in[i] = tensor.ValueOf(inputs[k])
			}
		}
	}
	return p.Run(ctx, in)
}

// finish turns the sums into reports.
func (v *verifier) finish() {
	for i, p := range v.a.Outputs() {
		s := v.sums[i]
		if p.Random {
			v.warn("output %q is not verified: it depends on random operators", p.Name)
			continue
		}
		if s.why == "" {
			var e float64
			if e, s.why = s.relative(); s.why == "" {
				v.outputs[p.Name].RelError = &e
				continue
			}
		}
		v.warn("output %q is not verified: %s", p.Name, s.why)
	}
}

// A deviation gathers ‖y−ỹ‖² and ‖y − mean y‖² over rows, in one pass (B. P.
// Welford, "Note on a method for calculating corrected sums of squares and
// products", 1962).
type deviation struct {
	why   string // it cannot be compared
	diff  float64
	rows  int
	mean  []float64 // per component of a row; nil where rows differ in size
	m2    []float64 // Σ(y − mean)² per component
	count int       // over all elements, likewise
	all   float64
	allM2 float64
	mixed bool
}

// add takes the outputs of one batch, of which the first rows out of padded
// count. It says why they cannot be compared.
func (d *deviation) add(a, b tensor.Value, rows, padded int) string {
	for _, v := range []*tensor.Value{&a, &b} {
		if t, keys, err := v.Table(); err == nil && keys != nil {
			*v = tensor.ValueOf(t)
		}
	}
	if a.Kind != tensor.KindTensor || b.Kind != tensor.KindTensor {
		return fmt.Sprintf("it is a %v", a.Kind)
	}
	x, err := tensor.Float64s(a.Tensor)
	if err != nil {
		return err.Error()
	}
	y, err := tensor.Float64s(b.Tensor)
	if err != nil {
		return err.Error()
	}
	if fmt.Sprint(a.Tensor.Shape()) != fmt.Sprint(b.Tensor.Shape()) {
		return fmt.Sprintf("it is %v in the original and %v in the compressed model", a.Tensor, b.Tensor)
	}
	if shape := a.Tensor.Shape(); len(shape) > 0 && shape[0] == padded && padded > 0 {
		x, y = x[:len(x)/padded*rows], y[:len(y)/padded*rows]
		d.addRows(x, rows)
	} else {
		d.mixed = true
	}
	for i, v := range x {
		d.diff += (v - y[i]) * (v - y[i])
		d.count++
		delta := v - d.all
		d.all += delta / float64(d.count)
		d.allM2 += delta * (v - d.all)
	}
	return ""
}

// addRows updates the means of the components.
func (d *deviation) addRows(x []float64, rows int) {
	if rows == 0 {
		return
	}
	each := len(x) / rows
	if d.mean == nil {
		d.mean, d.m2 = make([]float64, each), make([]float64, each)
	}
	if d.mixed = d.mixed || each != len(d.mean); d.mixed {
		return
	}
	for r := range rows {
		d.rows++
		for i, v := range x[r*each : (r+1)*each] {
			delta := v - d.mean[i]
			d.mean[i] += delta / float64(d.rows)
			d.m2[i] += delta * (v - d.mean[i])
		}
	}
}

// relative is the error, the mean being that of each component over the rows,
// or of all elements where there is only one row or where rows differ.
func (d *deviation) relative() (e float64, why string) {
	base := d.allM2
	if !d.mixed && d.rows > 1 {
		base = 0
		for _, v := range d.m2 {
			base += v
		}
	}
	switch {
	case d.diff == 0:
		return 0, ""
	case base == 0:
		return 0, "it is the same for all rows"
	}
	e = d.diff / base
	if math.IsNaN(e) || math.IsInf(e, 0) {
		return 0, "it holds values that are not finite"
	}
	return e, ""
}
