package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"bilinc/runtime"
	"bilinc/runtime/tensor"
)

// A benchmark warms up, then runs until both the time and the runs are reached.
const (
	benchWarmUp  = 200 * time.Millisecond
	benchTime    = 2 * time.Second
	benchLeast   = 10
	profiledRuns = 20
)

func (a *app) benchCmd() *cobra.Command {
	var data dataFlags
	var batch int
	var profile bool
	cmd := &cobra.Command{
		Use:   "bench MODEL",
		Short: "Measure how fast a model runs",
		Long: `Bench runs a model on one batch over and over, of DATA or of random inputs, and
prints the latency, the samples per second and the largest memory of the process.
` + dataHelp,
		Example: "  bilinc bench model.onnx --batch 8 --threads 1 --profile",
		Args:    cobra.ExactArgs(1),
	}
	data.add(cmd.Flags(), "data", "the inputs (default: random)")
	cmd.Flags().IntVar(&batch, "batch", 1, "rows per run, where the model leaves them free")
	cmd.Flags().BoolVar(&profile, "profile", false, "measure each operator as well")
	return a.runs(cmd, func(ctx context.Context, args []string) error {
		if batch < 1 {
			return usage(fmt.Errorf("--batch %d: wanted 1 or more", batch), "")
		}
		if err := data.check(); err != nil {
			return err
		}
		m, err := loadToRun(args[0])
		if err != nil {
			return err
		}
		if len(data.specs) == 0 {
			data.without(a, "data")
		}
		a.checkDims(m, data.opts.Dims)
		p, err := a.compile(args[0], m)
		if err != nil {
			return err
		}
		set, bound, err := a.openOrDraw(&data, m, batch, batch)
		if err != nil {
			return err
		}
		defer set.Close()
		var in []tensor.Value
		var res benchmark
		for b, err := range bound.Batches(batch) {
			if err != nil {
				return invalid(err)
			}
			in, res.Batch = inputValues(m, bound, &b), b.Padded
			break
		}
		res.Threads = a.pool.Threads()
		if err := res.run(ctx, p, in); err != nil {
			return drawnBadly(ctx, bound.Random, fmt.Errorf("%s: %w", args[0], err))
		}
		if profile {
			if err := res.profile(ctx, p, in); err != nil {
				return drawnBadly(ctx, bound.Random, fmt.Errorf("%s: %w", args[0], err))
			}
		}
		if a.json {
			return a.printJSON(&res)
		}
		return res.print(a.stdout)
	})
}

// benchmark is the JSON of bench. Times are in microseconds.
type benchmark struct {
	Batch   int `json:"batch"`
	Threads int `json:"threads"`
	Latency struct {
		Min float64 `json:"min"`
		P50 float64 `json:"p50"`
		P90 float64 `json:"p90"`
	} `json:"latency_us"`
	SamplesPerSecond float64   `json:"samples_per_second"` // of the median run
	PeakRSS          *int64    `json:"peak_rss_bytes"`     // nil where the system does not say
	Runs             int       `json:"runs"`
	Operators        []opShare `json:"operators,omitempty"`
}

// opShare is the time of one node: the median over runs, and its share of all.
type opShare struct {
	Name  string  `json:"name"`
	Op    string  `json:"op"`
	US    float64 `json:"us"`
	Share float64 `json:"share"`
}

// run measures whole runs. The outputs of one run are the memory of the next.
func (r *benchmark) run(ctx context.Context, p *runtime.Program, in []tensor.Value) error {
	out, err := p.Run(ctx, in)
	if err != nil {
		return err
	}
	var times []float64
	for begin := time.Now(); ; {
		start := time.Now()
		if err := p.RunInto(ctx, in, out); err != nil {
			return err
		}
		if time.Since(begin) < benchWarmUp {
			continue
		}
		times = append(times, float64(time.Since(start).Nanoseconds())/1e3)
		if time.Since(begin) > benchTime && len(times) >= benchLeast {
			break
		}
	}
	slices.Sort(times)
	r.Runs = len(times)
	r.Latency.Min, r.Latency.P50, r.Latency.P90 = times[0], times[len(times)/2], times[len(times)*9/10]
	r.SamplesPerSecond = float64(r.Batch) / r.Latency.P50 * 1e6
	r.PeakRSS = peakRSS()
	return nil
}

// profile measures the nodes.
func (r *benchmark) profile(ctx context.Context, p *runtime.Program, in []tensor.Value) error {
	var times [][]float64
	for range profiledRuns {
		_, ops, err := p.RunProfile(ctx, in)
		if err != nil {
			return err
		}
		if times == nil {
			times = make([][]float64, len(ops))
			for _, o := range ops {
				r.Operators = append(r.Operators, opShare{Name: o.Name, Op: o.Op})
			}
		}
		for i, o := range ops[:min(len(ops), len(times))] {
			times[i] = append(times[i], float64(o.Time.Nanoseconds())/1e3)
		}
	}
	sum := 0.0
	for i, t := range times {
		slices.Sort(t)
		r.Operators[i].US = t[len(t)/2]
		sum += t[len(t)/2]
	}
	for i := range r.Operators {
		if sum > 0 {
			r.Operators[i].Share = r.Operators[i].US / sum
		}
	}
	return nil
}

func (r *benchmark) print(w io.Writer) error {
	rss := ""
	if r.PeakRSS != nil {
		rss = ", peak memory " + size(*r.PeakRSS)
	}
	fmt.Fprintf(w, "batch %d, %d threads, %s runs: min %s µs, p50 %s µs, p90 %s µs, %s samples/s%s\n", r.Batch, r.Threads,
		count(int64(r.Runs)), short(r.Latency.Min), short(r.Latency.P50), short(r.Latency.P90), short(r.SamplesPerSecond), rss)
	if r.Operators == nil {
		return nil
	}
	byTime := slices.Clone(r.Operators)
	slices.SortStableFunc(byTime, func(a, b opShare) int {
		switch {
		case a.US > b.US:
			return -1
		case a.US < b.US:
			return 1
		}
		return 0
	})
	t := newTable("NODE", "OP", ">µs", ">SHARE")
	for _, o := range byTime {
		t.add(o.Name, o.Op, short(o.US), fmt.Sprintf("%.1f %%", 100*o.Share))
	}
	fmt.Fprintln(w)
	return t.print(w)
}
