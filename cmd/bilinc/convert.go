package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"bilinc/convert"
	"bilinc/convert/dataset"
	"bilinc/convert/onnx"
	"bilinc/finetune"
	"bilinc/runtime"
	"bilinc/runtime/file"
	"bilinc/runtime/graph"
)

// verifyRows is the random samples that outputs are compared on without data.
const verifyRows = 64

// convertFlags are the flags of convert.
type convertFlags struct {
	plan     planFlags
	planFile string
	out      string
	force    bool
	external bool
	eval     dataFlags
	calib    []string
	within   bool     // --max-drop is given
	epochs   int      // of --finetune; 0: none
	train    []string // --data, to fine-tune on
	holdout  float64
	trials   bool
	report   string // an HTML file; "": none
	lossMask string // of --mask, where it is one of the outputs' positions too
}

func (a *app) convertCmd() *cobra.Command {
	var f convertFlags
	cmd := &cobra.Command{
		Use:   "convert MODEL -o OUT",
		Short: "Replace a model's fully connected layers by bilinear factors",
		Long: `Convert writes a smaller model of standard ONNX operators, with the same opset,
inputs and outputs, and prints what it did to each layer.

With --calib the factors are fitted to the inputs that the layers see on DATA, and
plans are compared by the model's outputs; targets are not looked at. A fifth of
the rows is held out for that, and the errors of layers and outputs are measured
on it. Without, the error of a layer is that of its weight, ‖W−Ŵ‖²/‖W‖², and the
outputs are compared on the rows of --eval, or on random inputs.
` + planHelp + `

With --eval the accuracy before and after is printed; without targets, the share
of rows whose class stays the same. --max-drop D looks for the largest compression
that loses no more than D of it, in the place of a budget.

With --finetune the compressed model is trained on --data, with the original as
its teacher and targets where DATA has them: planned for training, fitted to a
sample of DATA's rows where there is no --calib, trained as finetune does by
default with --seen, and measured. finetune itself has more to set. A rule chooses
between low rank from a fitted start, where the budget leaves layers rank enough,
and pairs from a random one; where there are targets, short trainings then tell how
much of the budget the first layers should have. --trials lets short trainings
choose all, by the loss on the rows held out. (Those speak for fitted starts too
much where MODEL was trained on these rows.) A training that goes through less than
40,000 samples, those of all epochs together, is planned for as none.
` + dataHelp,
		Example: "  bilinc convert model.onnx -o small.onnx --ratio 4\n" +
			"  bilinc convert model.onnx -o small.onnx --plan plan.json --eval test.npz",
		Args: cobra.ExactArgs(1),
	}
	f.plan.add(cmd.Flags())
	cmd.Flags().Float64Var(&f.plan.opts.MaxDrop, "max-drop", 0, "the largest compression whose metric on --eval falls by at most D (0.01: one point of accuracy)")
	cmd.Flags().StringVar(&f.planFile, "plan", "", "carry out this plan, in place of budget and fit flags")
	cmd.Flags().StringVarP(&f.out, "output", "o", "", "the model to write (required)")
	cmd.Flags().BoolVar(&f.force, "force", false, "replace an existing output")
	cmd.Flags().BoolVar(&f.external, "external-data", false, "write the weights into a file beside the model (always done over 2 GB)")
	f.eval.add(cmd.Flags(), "eval", "measure the model before and after on DATA")
	f.eval.addMask(cmd.Flags())
	cmd.Flags().StringArrayVar(&f.calib, "calib", nil, "fit the factors to DATA; --samples counts its rows then, and --eval takes all")
	cmd.Flags().StringVar(&f.report, "report", "", "write what was done as an HTML page, too")
	cmd.Flags().IntVar(&f.epochs, "finetune", 0, "train the compressed model on --data for so many epochs")
	cmd.Flags().StringArrayVar(&f.train, "data", nil, "the DATA of --finetune")
	cmd.Flags().Float64Var(&f.holdout, "holdout", 0, "the share of --data to choose the best state by (default 0.1, of at most 2000 rows)")
	cmd.Flags().BoolVar(&f.trials, "trials", false, "let short trainings choose the structure, not a rule")
	return a.runs(cmd, func(ctx context.Context, args []string) error {
		f.useless(a, cmd.Flags())
		if f.within = cmd.Flags().Changed("max-drop"); f.within {
			if len(f.eval.specs) == 0 {
				return usage(errors.New("--max-drop needs --eval"), "--eval DATA is what the drop is measured on")
			}
			if f.epochs > 0 {
				return usage(errors.New("--max-drop and --finetune exclude each other"), "the drop is that without training")
			}
		}
		if cmd.Flags().Changed("finetune") && f.epochs < 1 {
			return usage(fmt.Errorf("--finetune %d: wanted 1 or more epochs", f.epochs), "")
		}
		if cmd.Flags().Changed("holdout") && !(f.holdout > 0 && f.holdout < 1) {
			return usage(fmt.Errorf("--holdout %g: wanted more than 0 and less than 1", f.holdout), "")
		}
		if (f.epochs > 0) != (len(f.train) > 0) {
			return usage(errors.New("--finetune and --data need each other"), "--finetune EPOCHS --data DATA")
		}
		for _, name := range planFlagNames {
			if f.planFile != "" && cmd.Flags().Changed(name) {
				return usage(fmt.Errorf("--%s and --plan exclude each other", name), "edit the plan, or make another one")
			}
		}
		return a.convert(ctx, args[0], &f)
	})
}

// useless warns of flags that mean nothing beside the others.
func (f *convertFlags) useless(a *app, set *pflag.FlagSet) {
	if len(f.eval.specs)+len(f.calib)+len(f.train) == 0 {
		f.eval.without(a, "calib, --eval or --data")
	}
	if f.epochs == 0 {
		a.unused(set, "there is no --finetune", "trials", "holdout")
		if len(f.calib) == 0 {
			a.unused(set, "there is no --calib", "search")
		}
	}
}

// convert is the whole command: plan, apply, compare, write, report.
func (a *app) convert(ctx context.Context, path string, f *convertFlags) error {
	start := time.Now()
	if f.out == "" {
		return usage(errors.New("no output is given"), "-o OUT names it")
	}
	opts, err := f.plan.options(a)
	if err != nil {
		return err
	}
	if err := f.eval.check(); err != nil {
		return err
	}
	calib, train := f.eval, f.eval
	calib.specs, train.specs = f.calib, f.train
	if len(f.calib)+len(f.train) > 0 {
		f.eval.opts.Samples = 0
	}
	inputs := append(slices.Concat(f.eval.files(), calib.files(), train.files()), path)
	if f.planFile != "" {
		inputs = append(inputs, f.planFile)
	}
	if err := f.checkOutputs(inputs); err != nil {
		return err
	}
	if err := checkFile(path); err != nil {
		return err
	}
	m, err := load(path)
	if err != nil {
		return err
	}
	if err := f.checkOutputs(onnx.Files(m)); err != nil {
		return err
	}
	a.checkDims(m, f.eval.opts.Dims)
	f.maskLosses(m)
	trainSet, trainRows, err := a.trainingData(ctx, &train, m)
	if err != nil {
		return err
	}
	defer trainSet.Close()
	set, cal, err := a.calibrate(ctx, &calib, m, len(f.eval.specs)+len(f.train) > 0)
	if err != nil {
		return err
	}
	defer set.Close()
	if cal == nil && trainRows != nil {
		if cal, err = a.calibrateOn(ctx, trainRows, m, f.trainOptions(a)); err != nil {
			return err
		}
		if err := maskFits(cal, calib.mask); err != nil {
			return err
		}
	}
	opts.Calibration = cal
	if trainRows != nil && f.planFile == "" {
		opts.ForTraining = f.trials || f.trainsLong(trainRows)
		switch {
		case f.trials:
			opts.Trial = a.trial(path, m, trainRows, f.trainOptions(a), trialShare, held)
		case !opts.ForTraining:
			a.note("a training on less than %s samples in all, each epoch's counted: the plan is the one without training", count(longTraining))
		case trainRows.HasLabels(): // else the original's outputs are all there is to learn, which fits see to
			opts.Learn = a.trial(path, m, trainRows, f.trainOptions(a), learnShare, learned)
		}
	}
	// Data that cannot be read shows before the long work.
	rows, data, err := a.verifyData(ctx, f, m)
	if err != nil {
		return err
	}
	defer rows.Close()
	var metric convert.Metric
	if f.within {
		if metric, err = a.metric(path, m, data, f.eval.mask); err != nil {
			return err
		}
	}
	var p *convert.Plan
	if f.planFile != "" {
		p, err = readPlan(f.planFile)
	} else {
		p, err = a.plan(ctx, path, m, opts, metric)
	}
	if err != nil {
		return err
	}
	small, report, err := a.apply(ctx, path, m, p, cal)
	if err != nil {
		return err
	}
	var history *finetune.History
	if trainRows != nil {
		if small, history, err = a.train(ctx, path, small, m, trainRows, f.trainOptions(a), false); err != nil {
			return err
		}
		if err := cal.Measure(ctx, small, report); err != nil {
			return err
		}
	}
	if cal == nil {
		if err := a.verify(ctx, m, small, data, report); err != nil {
			return err
		}
	}
	if len(f.eval.specs) > 0 {
		if err := a.metrics(ctx, path, m, small, data, f.eval.mask, report); err != nil {
			return err
		}
	}
	if report.BytesBefore, err = fileSize(onnx.Files(m)); err != nil {
		return err
	}
	write := func() error {
		if p.Changes() || f.external {
			report.BytesAfter, err = a.write(ctx, small, f)
		} else {
			report.BytesAfter, err = copyModel(ctx, m, f.out, f.force)
		}
		report.Seconds = time.Since(start).Seconds()
		return err
	}
	if f.report == "" {
		err = write()
	} else { // the page of a model that cannot be written is not left behind
		err = file.WriteAtomic(f.report, f.force, func(w io.Writer) error {
			if err := write(); err != nil {
				return err
			}
			return a.writePage(w, path, m, f, p, report, history)
		})
	}
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(struct {
			*convert.Report
			Training *finetune.History `json:"finetune,omitempty"`
		}{report, history})
	}
	if err := printReport(a.stdout, report); err != nil || history == nil {
		return err
	}
	fmt.Fprintln(a.stdout)
	return printHistory(a.stdout, history)
}

// checkOutputs refuses outputs that exist or are inputs, and a page that would
// take the model's place.
func (f *convertFlags) checkOutputs(inputs []string) error {
	if sameTarget(f.out, f.report) {
		return usage(fmt.Errorf("-o %s and --report %s are the same file", f.out, f.report), "choose another output")
	}
	if f.report != "" {
		if err := checkOutput(f.report, f.force, inputs...); err != nil {
			return err
		}
	}
	return checkOutput(f.out, f.force, inputs...)
}

// writePage writes the page of --report, after the model.
func (a *app) writePage(w io.Writer, path string, m *graph.Model, f *convertFlags, p *convert.Plan, r *convert.Report, h *finetune.History) error {
	d := page{args: a.args, model: path, out: f.out, report: r, tradeoff: p.Tradeoff, history: h}
	d.allWarnings = append(slices.Clone(p.Warnings), r.Warnings...)
	slices.Sort(d.allWarnings)
	d.allWarnings = slices.Compact(d.allWarnings)
	written, err := onnx.Read(f.out)
	if err != nil {
		return err
	}
	for i, x := range []*graph.Model{m, written} {
		if _, d.sumOf[i], err = onnx.Digest(onnx.Files(x)); err != nil {
			return err
		}
	}
	return d.write(w)
}

// readPlan reads a plan file.
func readPlan(path string) (*convert.Plan, error) {
	r, err := os.Open(path)
	if err != nil {
		return nil, invalid(err)
	}
	defer func() { _ = r.Close() }()
	p, err := convert.ReadPlan(r)
	if err != nil {
		return nil, invalid(fmt.Errorf("read %s: %w", path, err))
	}
	return p, nil
}

// apply carries the plan out.
func (a *app) apply(ctx context.Context, path string, m *graph.Model, p *convert.Plan, cal *convert.Calibration) (*graph.Model, *convert.Report, error) {
	_, sum, err := onnx.Digest(onnx.Files(m))
	if err != nil {
		return nil, nil, err
	}
	bar := a.progress("convert", 0)
	defer bar.done()
	small, report, err := convert.Apply(ctx, m, p, convert.ApplyOptions{
		ModelSHA256: sum,
		Pool:        a.pool,
		Calibration: cal,
		Progress:    bar.share,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("convert %s: %w", path, err)
	}
	for _, w := range report.Warnings {
		if !slices.Contains(p.Warnings, w) {
			a.warn("%s", w)
		}
	}
	if gone := goneInputs(m, small); len(gone) > 0 {
		a.warn("%d inputs of which the model holds the values are compressed, and no inputs any more: %q", len(gone), gone)
	}
	return small, report, nil
}

// goneInputs is the inputs with an initializer, which a caller may set or not,
// that m has and small has not. Up to IR version 3 all initializers are inputs,
// and mean nothing by it.
func goneInputs(m, small *graph.Model) []string {
	var gone []string
	for _, v := range m.Graph.Inputs {
		if m.IRVersion >= 4 && v.Init() != nil && !slices.ContainsFunc(small.Graph.Inputs, func(w *graph.Value) bool { return w.Name() == v.Name() }) {
			gone = append(gone, v.Name())
		}
	}
	return gone
}

// verifyData is the rows that the two models are compared on: those of --eval,
// or random ones. It is nil where none can be drawn.
func (a *app) verifyData(ctx context.Context, f *convertFlags, m *graph.Model) (*dataset.Set, *dataset.Bound, error) {
	if len(f.eval.specs) > 0 {
		return a.openFinite(ctx, &f.eval, m)
	}
	b, err := dataset.Random(m, verifyRows, defaultBatch, a.seed, f.eval.opts.Dims)
	if err != nil {
		a.warn("the outputs are not verified: %v", err)
		return &dataset.Set{}, nil, nil
	}
	return &dataset.Set{}, b, nil
}

// verify compares the outputs of the two models into the report.
func (a *app) verify(ctx context.Context, m, small *graph.Model, data *dataset.Bound, report *convert.Report) error {
	report.Outputs = map[string]*convert.OutputReport{}
	for _, v := range m.Graph.Outputs {
		report.Outputs[v.Name()] = &convert.OutputReport{}
	}
	if data == nil {
		return nil
	}
	outputs, warnings, err := convert.Verify(ctx, m, small, data, convert.VerifyOptions{Batch: defaultBatch, Pool: a.pool, Seed: a.seed})
	switch {
	case err != nil && data.Random && ctx.Err() == nil:
		// The sizes that were made up for the inputs need not suit the model.
		a.warn("the outputs are not verified: random inputs do not run: %v", err)
		return nil
	case err != nil:
		return invalid(err)
	}
	maps.Copy(report.Outputs, outputs)
	report.Warnings = append(report.Warnings, warnings...)
	for _, w := range warnings {
		a.warn("%s", w)
	}
	if data.Random {
		a.note("no data is given: layer errors are those of the weights, output errors are measured on random inputs")
	}
	return nil
}

// metric measures a model on the rows of --eval: its accuracy where there are
// targets, else how often the class is that of m. mask is an input's name or "".
func (a *app) metric(path string, m *graph.Model, data *dataset.Bound, mask string) (convert.Metric, error) {
	before, err := a.compile(path, m)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, small *graph.Model) (float64, error) {
		p, err := runtime.Compile(small, runtime.Options{Pool: a.pool, Seed: a.seed})
		if err != nil {
			return 0, err
		}
		var x *float64
		if data.HasLabels() {
			s, err := a.measure(ctx, path, small, p, data, &evalFlags{batch: defaultBatch, mask: mask, lenient: true})
			if err != nil {
				return 0, err
			}
			x = s.Accuracy
		} else if x, err = a.agreement(ctx, m, before, p, data, mask); err != nil {
			return 0, err
		}
		if x == nil {
			return 0, usage(errors.New("--max-drop needs a metric: no output has classes"), "")
		}
		return *x, nil
	}, nil
}

// metrics measures both models on the rows of --eval: the accuracy where
// there are targets, else how often the class stays what it was. mask is an
// input's name or "".
func (a *app) metrics(ctx context.Context, path string, m, small *graph.Model, data *dataset.Bound, mask string, report *convert.Report) error {
	before, err := a.compile(path, m)
	if err != nil {
		return err
	}
	after, err := runtime.Compile(small, runtime.Options{Pool: a.pool, Seed: a.seed})
	if err != nil {
		return err
	}
	if !data.HasLabels() {
		share, err := a.agreement(ctx, m, before, after, data, mask)
		if err != nil {
			return err
		}
		one := 1.0
		report.MetricBefore, report.MetricAfter = &one, share
		return nil
	}
	flags := &evalFlags{batch: defaultBatch, mask: mask, lenient: true}
	first, err := a.measure(ctx, path, m, before, data, flags)
	if err != nil {
		return err
	}
	second, err := a.measure(ctx, path, small, after, data, flags)
	if err != nil {
		return err
	}
	if first.Accuracy == nil {
		a.warn("the targets are numbers, not classes: there is no metric, the loss (MSE) is %s before and %s after",
			shortOr(first.Loss), shortOr(second.Loss))
	}
	report.MetricBefore, report.MetricAfter = first.Accuracy, second.Accuracy
	return nil
}

// write writes the model and gives the bytes of all its files.
func (a *app) write(ctx context.Context, m *graph.Model, f *convertFlags) (int64, error) {
	if err := onnx.WriteContext(ctx, m, f.out, onnx.WriteOptions{Force: f.force, ExternalData: f.external}); err != nil {
		return 0, err
	}
	written := []string{f.out}
	bytes, err := fileSize(written)
	if err != nil {
		return 0, err
	}
	constants := int64(0)
	for _, v := range m.Graph.Consts() {
		constants += int64(len(v.Init().Bytes()))
	}
	if bytes < constants { // the rest is beside it
		back, err := onnx.Read(f.out)
		if err != nil {
			return 0, err
		}
		return fileSize(onnx.Files(back))
	}
	return bytes, nil
}

func printReport(w io.Writer, r *convert.Report) error {
	t := newTable("LAYER", "ACTION", "SHAPE", ">TERMS", ">PARAMS", ">AFTER", ">RATIO", ">ERROR", "NOTE")
	for _, l := range r.Layers {
		in, out := 0, 0
		if l.Shape != nil {
			in, out = l.Shape.A[1]*l.Shape.B[1], l.Shape.A[0]*l.Shape.B[0]
		}
		t.add(l.Name, l.Action, factorText(l.Action, l.Shape, l.Terms, in, out), zeroEmpty(l.Terms), count(l.ParamsBefore), count(l.ParamsAfter),
			ratioText(l.ParamsBefore, l.ParamsAfter), short(l.Error), layerNote(l.Reason, l.TiedTo, l.Widen))
	}
	t.add("model", "", "", "", count(r.ParamsBefore), count(r.ParamsAfter), ratioText(r.ParamsBefore, r.ParamsAfter), "", "")
	if err := t.print(w); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n%s → %s, %s → %s macs per sample, %s s\n", size(r.BytesBefore), size(r.BytesAfter),
		countOr(r.MACsBefore), countOr(r.MACsAfter), short(r.Seconds))
	for _, name := range slices.Sorted(maps.Keys(r.Outputs)) {
		e := "not verified"
		if x := r.Outputs[name].RelError; x != nil {
			e = "relative error " + short(*x)
		}
		fmt.Fprintf(w, "output %q: %s\n", name, e)
	}
	if r.MetricBefore != nil && r.MetricAfter != nil {
		fmt.Fprintf(w, "metric: %.4f before, %.4f after\n", *r.MetricBefore, *r.MetricAfter)
	}
	return nil
}
