package convert

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"gonum.org/v1/gonum/mat"

	"bilinc/convert/dataset"
	"bilinc/convert/match"
	"bilinc/factorize"
	"bilinc/runtime"
	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// ErrData is wrapped by errors for calibration data that nothing can be fitted
// to.
var ErrData = errors.New("calibration data")

// The rows of calibration data are taken in batches. The last one of every
// selectionEvery is for selection: fits do not see it, choices are made by it
// and errors are reported on it.
const (
	selectionEvery   = 5
	calibrationBatch = 256 // at most
	leastBatches     = 40  // if there are as many rows
)

// A Calibration fits the weights of one model to data, one after the other:
// each to the inputs that it sees once those before it are replaced. It keeps
// what it has fitted, so that a plan and its Apply should share one. It is for
// one goroutine at a time.
type Calibration struct {
	model *graph.Model // the original
	found *found
	deps  [][]int // of every weight, the weights that its inputs depend on
	data  *dataset.Bound
	batch int
	pool  *kernel.Pool
	seed  uint64
	rows  int            // for the fit
	sizes map[string]int // of the inputs' symbolic dimensions but the samples'; the data's first batch

	metrics   []*mat.Dense             // of output errors, per weight, of mean diagonal 1; nil: the identity
	weights   []float64                // what the metrics were divided by
	through   []*mat.Dense             // of tall weights W and a metric S: WᵀSW
	weighting []factorize.Weighting    // of the metrics that are small enough to keep what fits make of them
	originals map[string]*[2]*averages // x with x, of the fit and the selection rows, by inputsKey
	tables    []*factorize.Table       // of weights that are looked up
	stages    [2][]stage               // per weight: where nothing before it is changed, and the last others
	fits      map[string]*fitted       // by the choices up to a weight
	wanted    map[int]wantedBatch      // the original's outputs on the selection rows, where they are kept, by batch
	targets   targets
	heldOut   bool
	mask      int  // 1 + the number of the input that says which positions count; 0: all do
	measured  bool // the metrics are
	warnings  []string

	// Trials of plans take less than what is carried out.
	thin      int   // one in so many groups of batches is in use
	sweeps    int   // of a fit; 0: as many as pay
	trialThin int   // in trials; 0: not known yet
	fullThin  int   // in what is carried out
	gradThin  int   // for the metrics
	positions []int // of a row, per weight; all layers together
}

// NewCalibration prepares fits of m's layers to data, of which every fifth
// batch is held out for selection. pool may be nil. It reads all rows; the error
// wraps ErrData, and a *dataset.ValueError, where a number is not finite, and
// ErrData where there are no rows.
func NewCalibration(ctx context.Context, m *graph.Model, data *dataset.Bound, pool *kernel.Pool, seed uint64) (*Calibration, error) {
	f, err := find(m)
	if err != nil {
		return nil, err
	}
	if data == nil {
		return nil, fmt.Errorf("%w: there is none", ErrData)
	}
	rows := data.Rows()
	if rows == 0 {
		return nil, fmt.Errorf("%w: no rows", ErrData)
	}
	c := &Calibration{model: m, found: f, deps: dependencies(m, f.weights), data: data, pool: pool, seed: seed, fits: map[string]*fitted{},
		batch:     max(1, min(calibrationBatch, rows/leastBatches)),
		metrics:   make([]*mat.Dense, len(f.weights)),
		weights:   make([]float64, len(f.weights)),
		through:   make([]*mat.Dense, len(f.weights)),
		weighting: make([]factorize.Weighting, len(f.weights)),
		originals: map[string]*[2]*averages{},
		tables:    make([]*factorize.Table, len(f.weights)),
		thin:      1}
	for k := range c.stages {
		c.stages[k] = make([]stage, len(f.weights))
	}
	if err := data.Finite(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", ErrData, err)
	}
	batches := 0
	for b, err := range data.Batches(c.batch) {
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrData, err)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if c.sizes == nil {
			c.sizes = sizesOf(m.Graph, data.Inputs, b.Inputs)
		}
		if batches%selectionEvery != selectionEvery-1 {
			c.rows += b.Rows
		}
		batches++
	}
	c.heldOut = batches >= selectionEvery
	if !c.heldOut {
		c.warnings = append(c.warnings, fmt.Sprintf("%d rows of calibration data are too few to hold some out: errors are those on the rows fitted to", rows))
	}
	return c, nil
}

// sizesOf is the sizes that the symbolic dimensions of inputs have in data,
// that of the samples left out.
func sizesOf(g *graph.Graph, names []string, data []*tensor.Tensor) map[string]int {
	sizes := map[string]int{}
	for i, n := range names {
		v := g.Value(n)
		if v == nil || !v.Type.Ranked || len(v.Type.Shape) != data[i].Rank() {
			continue
		}
		for k, d := range v.Type.Shape {
			if _, fixed := d.Const(); k > 0 && !fixed && d.IsKnown() {
				sizes[d.String()] = data[i].Shape()[k]
			}
		}
	}
	return sizes
}

// each runs programs side by side on the batches of the fit (0) or the
// selection (1): all of them, or one of so many.
func (c *Calibration) each(ctx context.Context, wanted, thin int, programs []*runtime.Program, f func(index int, b *dataset.Batch, out [][]tensor.Value) error) error {
	return c.batches(ctx, func(index, part int, b *dataset.Batch) error {
		if part != wanted || thin > 1 && index/selectionEvery%thin != 0 {
			return nil
		}
		out := make([][]tensor.Value, len(programs))
		for k, p := range programs {
			var err error
			if out[k], err = runBatch(ctx, p, c.data.Inputs, b.Inputs); err != nil {
				return dataError(ctx, err)
			}
		}
		return f(index, b, out)
	})
}

// dataError is the error of a run, which a model that compiles owes to its
// inputs: an index outside a table, say.
func dataError(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("%w: %w", ErrData, err)
}

// selection is the part that choices are made by and errors reported on.
func (c *Calibration) selection() int {
	if c.heldOut {
		return 1
	}
	return 0
}

// setTrial makes what follows a trial: fits take few sweeps, on as few rows as
// do. Otherwise they take all of both.
func (c *Calibration) setTrial(on bool) {
	c.thin, c.sweeps = c.fullThin, 0
	if on {
		c.thin, c.sweeps = c.trialThin, trialSweeps
	}
}

// Fits take rows until there are so many positions for every input of a
// weight, and so many rows in any case: few in trials, and what is carried out
// leaves rows out only where a row has many positions, as those of a
// transformer have. Of these every one counts where the products of all take
// no more than positionsWork multiplications. Else, and in trials, a layer takes
// some, spread evenly: so many for each input, or one of every row where that
// is more.
const (
	trialPositions = 4
	fullPositions  = 12
	trialRows      = 600
	fullRows       = 2000
	manyPositions  = 128
	someInTrial    = 12
	someOfMetric   = 8 // for each output, of the positions in use
	gradPositions  = 16
	gradRows       = 48
	positionsWork  = 1.5e10
)

// countedPositions is how many positions of a layer are enough, at least so
// many.
func countedPositions(inputs, outputs, least int) int {
	n, m := float64(inputs), float64(outputs)
	return max(least, int(positionsWork/(n*(n/2+min(m, wideOutput*n)))))
}

// stride is the distance between the positions that a weight takes, of those
// that all its layers have in so many rows: about as many as wanted. It has no
// divisor in common with the positions of a row, so that all take part.
func (c *Calibration) stride(i, rows, wanted int) int {
	each := max(1, c.positions[i])
	n := max(1, each*rows/max(1, wanted, rows))
	for n > 1 && gcd(n, each) > 1 {
		n--
	}
	return n
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// inputStride is the stride of statistics of a weight's inputs.
func (c *Calibration) inputStride(i int) int {
	w := c.found.weights[i]
	wanted := someInTrial * w.Cols
	if c.sweeps == 0 {
		wanted = countedPositions(w.Cols, w.Rows, manyPositions*w.Cols)
	}
	return c.stride(i, c.rows/max(1, c.thin), wanted)
}

// measureThin finds how many rows trials leave out, and how many positions the
// layers of every weight have in a row.
func (c *Calibration) measureThin(ctx context.Context) error {
	if c.trialThin > 0 {
		return nil
	}
	c.trialThin, c.fullThin, c.gradThin = max(1, c.data.Rows()/trialRows), max(1, c.data.Rows()/fullRows), max(1, c.data.Rows()/gradRows)
	c.positions = make([]int, len(c.found.weights))
	var all []int
	for i, w := range c.found.weights {
		if unrecorded(c.model, w) == "" && !isTable(w) {
			all = append(all, i)
		}
	}
	names := c.inputNames(all)
	p, err := c.compile(c.model, names)
	if err != nil {
		return err
	}
	for b, err := range c.data.Batches(c.batch) {
		if err != nil {
			return fmt.Errorf("%w: %w", ErrData, err)
		}
		out, err := runBatch(ctx, p, c.data.Inputs, b.Inputs)
		if err != nil {
			return dataError(ctx, err)
		}
		for _, i := range all {
			rows := 0
			for _, l := range readers(c.found.weights[i]) {
				rows += c.rowCount(l, out[slices.Index(names, l.X.Name())].Tensor)
			}
			n := c.found.weights[i].Cols
			c.positions[i] = rows / max(1, b.Padded)
			positions := rows * c.rows / max(1, b.Padded)
			c.trialThin = max(1, min(c.trialThin, positions/(trialPositions*n)))
			c.fullThin = max(1, min(c.fullThin, positions/(fullPositions*n)))
			c.gradThin = max(1, min(c.gradThin, positions/(gradPositions*min(c.found.weights[i].Rows, mostOutputs))))
		}
		return nil
	}
	return nil
}

// compile makes a program of m that gives out the values of the given names.
func (c *Calibration) compile(m *graph.Model, names []string) (*runtime.Program, error) {
	values := make([]*graph.Value, len(names))
	for i, n := range names {
		if values[i] = m.Graph.Value(n); values[i] == nil {
			return nil, fmt.Errorf("the model has no value %q", n)
		}
	}
	return runtime.Compile(m, runtime.Options{Pool: c.pool, Seed: c.seed, Outputs: values})
}

// readers is the layers of a weight whose inputs its fit goes by: those that
// read it the way round that is fitted.
func readers(w *match.Weight) []*match.Layer {
	var out []*match.Layer
	for _, l := range w.Layers {
		if !l.Transposed {
			out = append(out, l)
		}
	}
	return out
}

// unrecorded says why what a weight's layers read and make cannot be had.
func unrecorded(m *graph.Model, w *match.Weight) string {
	for _, l := range w.Layers {
		if l.X.Graph() != m.Graph || l.Y.Graph() != m.Graph {
			return "it is inside a subgraph, where calibration does not see it"
		}
	}
	return ""
}

// refittable reports whether all layers of w have a bias of their own, which
// can take up the mean of the error.
func refittable(w *match.Weight) bool {
	for _, l := range w.Layers {
		a := l.Addend
		if l.Transposed || a == nil || a.Const() == nil || a.Const().Len() != l.Out || len(a.Uses()) > 1 || a.IsOutput() || l.Beta == 0 {
			return false
		}
	}
	return true
}
