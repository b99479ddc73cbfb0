package convert

import (
	"context"
	"errors"
	"fmt"
	"math"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
)

// A Structure says which kinds of factors a plan may use.
type Structure string

// The structures.
const (
	Auto     Structure = "auto"     // whichever of the others has the least error
	Bilinear Structure = "bilinear" // one balanced pair A ⊗ B per layer
	Terms    Structure = "terms"    // balanced pairs, as many as the budget allows
	LowRank  Structure = "lowrank"  // two dense layers, U V
)

// A Start says what the factors of a layer hold before they are trained.
type Start string

// The starts.
const (
	Fitted Start = "fitted" // what is nearest to the layer
	Random Start = "random" // draws that keep the variance of the activations
)

// ErrOptions is wrapped by errors for options that contradict each other or
// the model's layers.
var ErrOptions = errors.New("wrong options")

// Options is the budget of a plan and what it may do. At most one of Ratio,
// TargetParams and TargetSize is set; without any, the parameters are
// unlimited and only an explicit NumTerms or Structure Bilinear changes layers.
type Options struct {
	Ratio        float64 `json:"ratio,omitempty"`         // at most params / Ratio; 1 changes nothing
	TargetParams int64   `json:"target_params,omitempty"` // of the whole model
	TargetSize   int64   `json:"target_size,omitempty"`   // bytes of the written model, external data included

	// MaxDrop is what a plan of NewPlanWithin was made for; for the reader.
	MaxDrop float64 `json:"max_drop,omitempty"`

	Structure Structure `json:"structure,omitempty"` // "" is Auto
	// NumTerms gives every layer that many terms (ranks, where Structure is
	// LowRank) even if it grows; 0 leaves the number to the budget.
	NumTerms int `json:"terms,omitempty"`
	// Widen makes every hidden layer that can be so many times as wide (L. Yu et
	// al., "Parameter efficient deep neural networks with bilinear projections",
	// 2021): its output goes through element-wise operators to fully connected
	// layers alone, which are fitted to the wide activations. 1 widens none; 0
	// leaves that to the planner.
	Widen   int      `json:"widen,omitempty"`
	Layers  []string `json:"layers,omitempty"`  // globs of names to compress; none means all
	Exclude []string `json:"exclude,omitempty"` // globs of names to leave as they are
	Seed    uint64   `json:"seed"`

	// Search adds trials, with data and under Auto, that look for the shapes of
	// pairs among all divisor pairs; without, what trials are left over do.
	Search bool `json:"search,omitempty"`

	// ForTraining plans for a training that follows: what is best without one is
	// not what trains best.
	ForTraining bool `json:"for_training,omitempty"`
	// Start is what the factors hold; "" is Fitted, or what ForTraining finds
	// best.
	Start Start `json:"start,omitempty"`

	// ModelSHA256 is the digest of the model's file in hexadecimal; a plan
	// carries it, and Apply refuses a plan with another one.
	ModelSHA256 string       `json:"-"`
	Pool        *kernel.Pool `json:"-"`

	// Calibration lets the plan go by data: layers are fitted to their inputs,
	// and plans are compared by the model's outputs. It is of the same model.
	// nil: by the weights alone.
	Calibration *Calibration `json:"-"`
	// Trial judges a candidate of a plan for training by a short one, say: the
	// model gets a score, and the least is best. The model is the trial's own but
	// for the memory of constants, which the original may share. It decides in the
	// place of what the planner knows by itself, and implies ForTraining.
	Trial func(ctx context.Context, m *graph.Model) (score float64, err error) `json:"-"`
	// Learn trains a candidate for a short while and returns the loss that it came
	// to, on what it was trained on. A plan for training of a fitted start shares
	// the budget out by it. The model is as for Trial. It may be nil.
	Learn func(ctx context.Context, m *graph.Model) (loss float64, err error) `json:"-"`
	// Progress is called before each step of the work: done of total is the share
	// of the time that has passed, as far as what is left can be told from the
	// steps before; total is 0 where it cannot. It may be nil.
	Progress func(what string, done, total int) `json:"-"`
}

// mostWiden bounds Options.Widen: what reads a layer has as many more inputs,
// and their covariance grows with the square.
const mostWiden = 64

// check reports options that no model can be planned with.
func (o *Options) check() error {
	budgets := 0
	for _, set := range []bool{o.Ratio != 0, o.TargetParams != 0, o.TargetSize != 0} {
		if set {
			budgets++
		}
	}
	switch {
	case budgets > 1:
		return fmt.Errorf("%w: more than one of ratio, target params and target size", ErrOptions)
	case o.Ratio != 0 && !(o.Ratio >= 1 && o.Ratio <= math.MaxInt32):
		return fmt.Errorf("%w: ratio %g, wanted 1 or more", ErrOptions, o.Ratio)
	case o.TargetParams < 0 || o.TargetSize < 0:
		return fmt.Errorf("%w: a negative target", ErrOptions)
	case o.NumTerms < 0:
		return fmt.Errorf("%w: %d terms, wanted 1 or more", ErrOptions, o.NumTerms)
	case o.Widen < 0 || o.Widen > mostWiden:
		return fmt.Errorf("%w: widen by %d, wanted 1 to %d", ErrOptions, o.Widen, mostWiden)
	case o.Widen > 1 && o.structure() == LowRank:
		return fmt.Errorf("%w: a wide layer is bilinear, structure lowrank has none", ErrOptions)
	}
	switch o.structure() {
	case Auto, Terms, LowRank:
	case Bilinear:
		if o.NumTerms > 1 {
			return fmt.Errorf("%w: structure bilinear is one pair a layer, not %d terms", ErrOptions, o.NumTerms)
		}
	default:
		return fmt.Errorf("%w: structure %q, wanted auto, bilinear, terms or lowrank", ErrOptions, o.Structure)
	}
	switch o.Start {
	case "", Fitted, Random:
	default:
		return fmt.Errorf("%w: start %q, wanted fitted or random", ErrOptions, o.Start)
	}
	return nil
}

func (o *Options) structure() Structure {
	if o.Structure == "" {
		return Auto
	}
	return o.Structure
}

// nothing reports whether the options ask for no change at all.
func (o *Options) nothing() bool { return o.Ratio == 1 && o.NumTerms == 0 && o.Widen < 2 }
