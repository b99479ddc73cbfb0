package finetune

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"bilinc/runtime/kernel"
)

// ErrOptions is wrapped by errors for options that contradict each other, the
// model or the data.
var ErrOptions = errors.New("wrong options")

// ErrUntrainable is wrapped by the error for a model that has no weights of
// float32 or float64: one in half precision, say, or a quantised one.
var ErrUntrainable = errors.New("no weights that can be trained")

// A Rule says how weights follow from gradients.
type Rule string

// The rules.
const (
	AdamW Rule = "adamw" // Adam with decay apart from the gradient (Loshchilov and Hutter, arXiv 1711.05101)
	Adam  Rule = "adam"  // Kingma and Ba, arXiv 1412.6980; decay is added to the gradient
	SGD   Rule = "sgd"   // with momentum; decay is added to the gradient
)

// A Schedule says how the learning rate goes over the steps.
type Schedule string

// The schedules, all after the warm-up.
const (
	Cosine   Schedule = "cosine"   // half a cosine, down to 0
	Step     Schedule = "step"     // a tenth from the middle on, a hundredth in the last quarter
	Constant Schedule = "constant" // no change
)

// An Init says what training begins with.
type Init string

// The starts.
const (
	Keep   Init = "keep"   // the model's constants
	Random Init = "random" // every trained constant is drawn anew, so that variances are kept
)

// Options says how to train. The zero value of a field is its default; where 0
// is a value of its own, a pointer or a negative number says so.
type Options struct {
	Epochs     int // 0: DefaultEpochs
	Batch      int // rows of a step; 0: DefaultBatch
	Accumulate int // batches whose gradients make one step; 0: 1

	LR        float64 // of dense weights; 0: the rule's default, see rate and findRate
	Rule      Rule    // "": AdamW
	Momentum  float64 // of SGD; of Adam the decay of the mean; 0: 0.9
	Nesterov  bool    // of SGD
	Schedule  Schedule
	Warmup    float64 // the share of all steps in which the rate rises to LR
	Decay     float64 // weight decay, of matrices alone; biases and norms have none; 0: 6e-5/LR of AdamW on targets that are Seen, else none; negative: none
	Clip      float64 // the largest norm of a step's gradient; 0: no limit
	Smoothing float64 // of labels: the share that is spread over all classes; 0: DefaultSmoothing; negative: none
	Average   float64 // decay of a running mean of the weights per step, which is what is kept; 0: none

	// Mix is the share of the rows that are blended with another one, for the
	// teacher to judge anew; 0: all where a teacher is all there is to learn from,
	// and inputs are numbers that can be blended, else none; negative: none.
	Mix         float64
	Loss        string  // auto, or a sum of ce, kl and mse with factors: "ce", "0.3*ce+0.7*kl"; "": auto
	Temperature float64 // of the teacher's distribution; 0: 1
	MatchWeight float64 // of the term over Matches; 0: 1
	Mask        string  // the input that is 0 at positions that do not count

	Groups  []Group              // layers made of factors
	Matches []Match              // values of student and teacher that are to agree
	Train   func(w *Weight) bool `json:"-"` // which weights are trained; nil: all
	Init    Init
	Frozen  bool // BatchNormalizations keep their running statistics and normalise by them in training too

	// Holdout is the share of the data to choose the best state by; 0:
	// DefaultHoldout, of Seen data MostSeen samples at most; negative: none, the
	// last state is kept.
	Holdout float64
	// Seen says that the teacher has been trained on the data. It knows rows by
	// heart then, and so does a start that was made of it: on the hold-out it looks
	// better than it is. Trained states are then held against it by another measure;
	// see Trainer.better. It matters only where there are labels.
	Seen     bool
	Patience int // epochs without a better state after which training ends; 0: never
	Seed     uint64

	Pool       *kernel.Pool `json:"-"` // nil: the caller's goroutine alone
	Checkpoint Checkpoint
	Progress   func(Progress) `json:"-"` // called after each step and evaluation; may be nil

	keptRate bool // LR is the default for a start that is kept
}

// A Group says that two constants are the factors of one layer, Ŵ = Σ_r A_r ⊗ B_r.
type Group struct {
	Layer          string
	A, B           string // names of constants, each with the factors of all terms
	Terms          int
	M1, N1, M2, N2 int    // A_r is M1×N1, B_r is M2×N2
	In             int    // columns of Ŵ
	Output         string // the value that the layer computes
	Fresh          bool   // the factors are random draws: they are to move farther than fitted ones
}

// A Match is a value of the student and the one of the teacher that it stands
// for, by name.
type Match struct{ Student, Teacher string }

// Defaults of Options.
const (
	DefaultEpochs  = 10
	DefaultBatch   = 128
	DefaultHoldout = 0.1
	// MostSeen is samples enough to tell that training has gone wrong (a standard
	// error of accuracy of 1.1 % at most), which is all that a hold-out tells of a
	// start that was made to know it: the others are better trained on.
	MostSeen = 2000
	// DefaultSmoothing is from C. Szegedy et al., "Rethinking the Inception
	// Architecture" (arXiv 1512.00567).
	DefaultSmoothing = 0.1
)

// fill puts defaults in place of zeros and reports what makes no sense.
func (o *Options) fill() error {
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	deff := func(p *float64, v float64) {
		if *p == 0 {
			*p = v
		}
	}
	def(&o.Epochs, DefaultEpochs)
	def(&o.Batch, DefaultBatch)
	def(&o.Accumulate, 1)
	if o.Rule == "" {
		o.Rule = AdamW
	}
	if o.Schedule == "" {
		o.Schedule = Cosine
	}
	if o.Init == "" {
		o.Init = Keep
	}
	if o.Loss == "" {
		o.Loss = "auto"
	}
	deff(&o.Momentum, 0.9)
	deff(&o.Temperature, 1)
	deff(&o.MatchWeight, 1)
	deff(&o.Smoothing, DefaultSmoothing)
	o.keptRate = o.LR == 0 && !o.fresh()
	switch o.Rule {
	case AdamW, Adam:
		deff(&o.LR, o.rate(1e-3))
	case SGD:
		deff(&o.LR, o.rate(0.05))
	default:
		return fmt.Errorf("%w: optimizer %q, wanted adamw, adam or sgd", ErrOptions, o.Rule)
	}
	switch o.Schedule {
	case Cosine, Step, Constant:
	default:
		return fmt.Errorf("%w: schedule %q, wanted cosine, step or constant", ErrOptions, o.Schedule)
	}
	if o.Init != Keep && o.Init != Random {
		return fmt.Errorf("%w: init %q, wanted keep or random", ErrOptions, o.Init)
	}
	for _, c := range []struct {
		what   string
		x      float64
		lo, hi float64 // hi is excluded
		wanted string
	}{
		{"epochs", float64(o.Epochs), 1, math.Inf(1), "1 or more"},
		{"batch", float64(o.Batch), 1, math.Inf(1), "1 or more"},
		{"accumulate", float64(o.Accumulate), 1, math.Inf(1), "1 or more"},
		{"learning rate", o.LR, 0, math.Inf(1), "a finite number of 0 or more"},
		{"momentum", o.Momentum, 0, 1, "0 to below 1"},
		{"warmup", o.Warmup, 0, 1, "0 to below 1"},
		{"weight decay", o.Decay, math.Inf(-1), math.Inf(1), "a finite number"},
		{"clip", o.Clip, 0, math.Inf(1), "a finite number of 0 or more"},
		{"label smoothing", o.Smoothing, math.Inf(-1), 1, "less than 1"},
		{"average", o.Average, 0, 1, "0 to below 1"},
		{"mix", o.Mix, math.Inf(-1), 1 + 1e-9, "at most 1"},
		{"temperature", o.Temperature, math.SmallestNonzeroFloat32, math.Inf(1), "a finite number above 0"},
		{"match weight", o.MatchWeight, 0, math.Inf(1), "a finite number of 0 or more"},
		{"holdout", o.Holdout, math.Inf(-1), 1, "less than 1"},
		{"patience", float64(o.Patience), 0, math.Inf(1), "0 or more"},
	} {
		if !(c.x >= c.lo && c.x < c.hi) {
			return fmt.Errorf("%w: %s %g, wanted %s", ErrOptions, c.what, c.x, c.wanted)
		}
	}
	return o.Checkpoint.check()
}

// kept is the part of a default learning rate that weights take which are
// good already. On Fashion-MNIST (a net of 784-1024-1024-10 at a 16th of its
// parameters, low rank, fitted) three epochs at 3e-4 give .896 on rows that
// neither net has seen, at 1e-3 .893.
const kept = 0.3

// rate is the default learning rate: full where something is drawn anew.
func (o *Options) rate(full float64) float64 {
	if o.fresh() {
		return full
	}
	return kept * full
}

// fresh reports whether something is drawn anew.
func (o *Options) fresh() bool {
	return o.Init == Random || slices.ContainsFunc(o.Groups, func(g Group) bool { return g.Fresh })
}
