package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"bilinc/convert"
	"bilinc/convert/dataset"
	"bilinc/convert/onnx"
	"bilinc/runtime/file"
	"bilinc/runtime/graph"
)

// defaultRatio is the budget where no flag sets one.
const defaultRatio = 4

// planFlags are the flags that a plan is made from: the budget and the fit.
type planFlags struct {
	opts      convert.Options
	structure string
	set       *pflag.FlagSet
}

// planFlagNames are those that say what a plan file says too.
var planFlagNames = []string{"ratio", "target-params", "target-size", "max-drop", "structure", "terms", "widen", "search", "for-training", "layers", "exclude"}

const planHelp = `
The budget is an upper limit for the whole model: --ratio, --target-params or
--target-size (default: --ratio 4; none with --terms, which are used as given).
Structures: bilinear is one balanced pair A ⊗ B per layer, terms are balanced
pairs, as many as the budget allows, lowrank is two dense layers; auto takes for
each layer what fits best.
--widen S makes hidden layers S times as wide whose output goes, through
operators by element, to fully connected layers alone; these are fitted to the
wide activations. The plan says of the others why they are not.`

func (p *planFlags) add(f *pflag.FlagSet) {
	p.set = f
	f.Float64Var(&p.opts.Ratio, "ratio", 0, "at most the model's parameters divided by R (default 4)")
	f.Int64Var(&p.opts.TargetParams, "target-params", 0, "at most N parameters")
	f.Var((*sizeFlag)(&p.opts.TargetSize), "target-size", "at most so many bytes in the written files (2MB, 1GiB)")
	f.StringVar(&p.structure, "structure", string(convert.Auto), "auto, bilinear, terms or lowrank")
	f.IntVar(&p.opts.NumTerms, "terms", 0, "terms (ranks) of every layer, even where it grows")
	f.IntVar(&p.opts.Widen, "widen", 0, "make hidden layers so many times as wide, where that can be (1: none)")
	f.BoolVar(&p.opts.Search, "search", false, "with --calib, look for other shapes than balanced ones, by more trials")
	f.BoolVar(&p.opts.ForTraining, "for-training", false, "plan for a finetune that follows: what trains best, with its start")
	f.StringArrayVar(&p.opts.Layers, "layers", nil, "compress only layers whose names match this glob; repeatable")
	f.StringArrayVar(&p.opts.Exclude, "exclude", nil, "leave layers alone whose names match this glob; repeatable")
}

// options checks the flags and fills in what they leave open.
func (p *planFlags) options(a *app) (convert.Options, error) {
	o := p.opts
	budgets := 0
	for _, name := range []string{"ratio", "target-params", "target-size", "max-drop"} {
		if p.set.Changed(name) {
			budgets++
		}
	}
	switch {
	case budgets > 1:
		return o, usage(errors.New("more than one budget: --ratio, --target-params, --target-size and --max-drop exclude each other"), "")
	case p.set.Changed("ratio") && !(o.Ratio >= 1 && !math.IsInf(o.Ratio, 0)):
		return o, usage(fmt.Errorf("--ratio %g: wanted a number of 1 or more", o.Ratio), "")
	case p.set.Changed("target-params") && o.TargetParams < 1:
		return o, usage(fmt.Errorf("--target-params %d: wanted 1 or more", o.TargetParams), "")
	case p.set.Changed("terms") && o.NumTerms < 1:
		return o, usage(fmt.Errorf("--terms %d: wanted 1 or more", o.NumTerms), "")
	case p.set.Changed("widen") && o.Widen < 1:
		return o, usage(fmt.Errorf("--widen %d: wanted 1 or more", o.Widen), "")
	}
	if f := p.set.Lookup("max-drop"); f != nil && f.Changed {
		switch {
		case !(o.MaxDrop >= 0 && o.MaxDrop <= 1):
			return o, usage(fmt.Errorf("--max-drop %g: wanted a number from 0 to 1", o.MaxDrop), "0.01 is one point of accuracy")
		case o.NumTerms > 0 || o.ForTraining:
			return o, usage(errors.New("--max-drop excludes --terms and --for-training"), "")
		}
	}
	if budgets == 0 && o.NumTerms == 0 {
		o.Ratio = defaultRatio
	}
	o.Structure, o.Seed, o.Pool = convert.Structure(p.structure), a.seed, a.pool
	return o, nil
}

// sizeFlag is a number of bytes with a unit.
type sizeFlag int64

func (s *sizeFlag) Type() string   { return "SIZE" }
func (s *sizeFlag) String() string { return "" }

func (s *sizeFlag) Set(text string) error {
	digits := strings.TrimRight(text, "BKMGibkmg ")
	units := map[string]float64{"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "k": 1e3, "m": 1e6, "g": 1e9,
		"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
	unit, ok := units[strings.ToLower(strings.TrimSpace(text[len(digits):]))]
	x, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	if !ok || err != nil || !(x*unit >= 1 && x*unit < 1<<62) {
		return errors.New("wanted a size such as 500000, 2MB or 1.5GiB")
	}
	*s = sizeFlag(x * unit)
	return nil
}

func (a *app) planCmd() *cobra.Command {
	var f planFlags
	var out string
	var force bool
	var calib dataFlags
	cmd := &cobra.Command{
		Use:   "plan MODEL [-o plan.json]",
		Short: "Plan a conversion without carrying it out",
		Long: `Plan decides what becomes of each layer and prints which ratios are feasible at
which estimated error. The plan file is JSON to be read and edited;
"bilinc convert --plan plan.json" carries it out on the same model. A plan that
was made with --calib wants the same --calib there.
` + planHelp + "\n" + dataHelp,
		Example: "  bilinc plan model.onnx --ratio 8 -o plan.json",
		Args:    cobra.ExactArgs(1),
	}
	f.add(cmd.Flags())
	calib.add(cmd.Flags(), "calib", "fit the factors to DATA")
	calib.addMask(cmd.Flags())
	cmd.Flags().StringVarP(&out, "output", "o", "", "the plan file to write")
	cmd.Flags().BoolVar(&force, "force", false, "replace an existing output")
	return a.runs(cmd, func(ctx context.Context, args []string) error {
		opts, err := f.options(a)
		if err != nil {
			return err
		}
		if err := calib.check(); err != nil {
			return err
		}
		if out != "" {
			if err := checkOutput(out, force, append(calib.files(), args[0])...); err != nil {
				return err
			}
		}
		if err := checkFile(args[0]); err != nil {
			return err
		}
		m, err := load(args[0])
		if err != nil {
			return err
		}
		if out != "" {
			if err := checkOutput(out, force, onnx.Files(m)...); err != nil {
				return err
			}
		}
		if len(calib.specs) == 0 {
			calib.without(a, "calib")
			a.unused(f.set, "there is no --calib", "search")
		}
		a.checkDims(m, calib.opts.Dims)
		set, cal, err := a.calibrate(ctx, &calib, m, false)
		if err != nil {
			return err
		}
		defer set.Close()
		opts.Calibration = cal
		p, err := a.plan(ctx, args[0], m, opts, nil)
		if err != nil {
			return err
		}
		if out != "" {
			if err := file.WriteAtomic(out, force, p.Write); err != nil {
				return err
			}
		}
		if a.json {
			return a.printJSON(planResult{p, p.Tradeoff})
		}
		return printPlan(a.stdout, p)
	})
}

// planResult is the JSON of plan; Plan is null where the budget cannot be met.
type planResult struct {
	Plan     *convert.Plan      `json:"plan"`
	Tradeoff []convert.Tradeoff `json:"tradeoff"`
}

// maskFits has fits skip the positions that an input masks; "": none.
func maskFits(c *convert.Calibration, input string) error {
	if input == "" {
		return nil
	}
	if err := c.Mask(input); err != nil {
		return usage(err, "--mask names an input of the model")
	}
	return nil
}

// calibrate prepares fits to the data that --calib names; nil without. other
// says that there is other data to mask.
func (a *app) calibrate(ctx context.Context, d *dataFlags, m *graph.Model, other bool) (*dataset.Set, *convert.Calibration, error) {
	if len(d.specs) == 0 {
		if d.mask != "" && !other {
			return nil, nil, usage(errors.New("--mask is for data: there is no --calib, --eval or --data"), "")
		}
		return &dataset.Set{}, nil, nil
	}
	set, data, err := a.open(d, m)
	if err != nil {
		return nil, nil, err
	}
	cal, err := convert.NewCalibration(ctx, m, data, a.pool, a.seed)
	if err != nil {
		set.Close()
		return nil, nil, invalid(err)
	}
	if err := maskFits(cal, d.mask); err != nil {
		set.Close()
		return nil, nil, err
	}
	return set, cal, nil
}

// plan makes a plan; with a metric, under a bound on its drop. Where the budget
// cannot be met, it prints what can.
func (a *app) plan(ctx context.Context, path string, m *graph.Model, o convert.Options, metric convert.Metric) (*convert.Plan, error) {
	var err error
	if _, o.ModelSHA256, err = onnx.Digest(onnx.Files(m)); err != nil {
		return nil, err
	}
	bar := a.progress("plan", 0)
	o.Progress = bar.share
	var p *convert.Plan
	if metric != nil {
		p, err = convert.NewPlanWithin(ctx, m, o, o.MaxDrop, metric)
	} else {
		p, err = convert.NewPlan(ctx, m, o)
	}
	bar.done()
	var infeasible *convert.InfeasibleError
	if errors.As(err, &infeasible) {
		if a.json {
			if perr := a.printJSON(planResult{nil, infeasible.Tradeoff}); perr != nil {
				return nil, perr
			}
		} else if perr := printTradeoff(a.stderr, infeasible.Tradeoff); perr != nil {
			return nil, perr
		}
	}
	if err != nil {
		return nil, fmt.Errorf("plan %s: %w", path, err)
	}
	for _, w := range p.Warnings {
		a.warn("%s", w)
	}
	return p, nil
}

func printPlan(w io.Writer, p *convert.Plan) error {
	t := newTable("LAYER", "ACTION", "SHAPE", ">TERMS", ">PARAMS", ">AFTER", ">RATIO", ">ERROR", "NOTE")
	for i := range p.Layers {
		l := &p.Layers[i]
		in := l.In
		if l.Shape != nil { // of a wide input
			in = l.Shape.A[1] * l.Shape.B[1]
		}
		t.add(l.Name, l.Action, factorText(l.Action, l.Shape, l.Terms, in, l.Out), zeroEmpty(l.Terms), count(l.ParamsBefore), count(l.ParamsAfter),
			ratioText(l.ParamsBefore, l.ParamsAfter), short(l.Error), layerNote(p.Note(l), l.TiedTo, l.Widen))
	}
	t.add("total", "", "", "", count(p.ParamsBefore), count(p.ParamsAfter), ratioText(p.ParamsBefore, p.ParamsAfter), short(p.Error), "")
	if err := t.print(w); err != nil {
		return err
	}
	if len(p.Tradeoff) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	return printTradeoff(w, p.Tradeoff)
}

// printTradeoff prints which ratios can be had at which error.
func printTradeoff(w io.Writer, rows []convert.Tradeoff) error {
	t := newTable(">RATIO", ">PARAMS", ">ERROR", "FEASIBLE")
	for _, r := range rows {
		yes, e := "no", "–"
		if r.Feasible {
			yes, e = "yes", short(r.Error)
		}
		t.add(short(r.Ratio), count(r.Params), e, yes)
	}
	return t.print(w)
}

// factorText is the sizes of a layer's factors: of one pair A ⊗ B, or of the
// two dense layers of rank terms.
func factorText(action convert.Action, s *convert.Shape, terms, in, out int) string {
	switch {
	case action == convert.ActLowRank && in > 0:
		return fmt.Sprintf("%d×%d · %d×%d", out, terms, terms, in)
	case s == nil:
		return ""
	}
	return fmt.Sprintf("%d×%d ⊗ %d×%d", s.A[0], s.A[1], s.B[0], s.B[1])
}

func zeroEmpty(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func ratioText(before, after int64) string {
	if after == 0 {
		return "–"
	}
	return short(float64(before)/float64(after)) + "×"
}

func layerNote(reason, tied string, widen int) string {
	if widen > 1 {
		reason = fmt.Sprintf("%d times as wide", widen)
	}
	if tied == "" {
		return reason
	}
	if reason != "" {
		reason += "; "
	}
	return reason + "same weight as " + tied
}
