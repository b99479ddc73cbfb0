package convert

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"bilinc/factorize"
)

// PlanVersion is the version of a plan's JSON form.
const PlanVersion = 1

// ErrPlan is wrapped by errors for a plan that cannot be read or carried out:
// of another version or model, or with layers, shapes or terms that do not fit.
var ErrPlan = errors.New("invalid plan")

// An Action is what a plan does with a layer.
type Action string

// The actions. A skipped layer is one that cannot be compressed or was
// excluded; a dense one stays because that is best under the budget.
const (
	ActBilinear Action = "bilinear"
	ActLowRank  Action = "lowrank"
	ActDense    Action = "dense"
	ActSkipped  Action = "skipped"
)

// A Plan says for every layer of a model what becomes of it.
type Plan struct {
	Version      int         `json:"bilinc_plan"`
	Model        string      `json:"model_sha256,omitempty"`
	Options      Options     `json:"options"`
	ParamsBefore int64       `json:"params_before"`
	ParamsAfter  int64       `json:"params_after"`
	Error        float64     `json:"error"` // estimated, as in Tradeoff
	Layers       []LayerPlan `json:"layers"`
	Tradeoff     []Tradeoff  `json:"tradeoff"`
	Warnings     []string    `json:"warnings,omitempty"`
}

// A LayerPlan is the part of one layer. To edit a plan, change Action, Shape,
// Kernel, Terms and Start; the rest is for the reader.
type LayerPlan struct {
	Name   string `json:"name"`
	Action Action `json:"action"`
	In     int    `json:"in"`
	Out    int    `json:"out"`
	Shape  *Shape `json:"shape,omitempty"` // of a bilinear layer
	// Kernel says for every axis of a convolution's kernel whether A or B has
	// it, as in "ab"; "" where all are B's. A's axes count among the columns of
	// A, from the outermost, B's among those of B, to the innermost.
	Kernel string `json:"kernel,omitempty"`
	Terms  int    `json:"terms,omitempty"` // pairs, or the rank of a lowrank layer
	Start  Start  `json:"start,omitempty"` // of the factors; "" is fitted
	// Widen makes a bilinear layer so many times as wide: Shape then has Widen
	// times the rows, and the shapes of layers that read it the columns. 0 and 1
	// leave it as it is.
	Widen int `json:"widen,omitempty"`
	// NoWiden says why the layer cannot be widened.
	NoWiden string `json:"no_widen,omitempty"`
	// ParamsBefore and ParamsAfter count a weight that several layers share
	// at the first of them alone.
	ParamsBefore int64 `json:"params_before"`
	ParamsAfter  int64 `json:"params_after"`
	// Error is ‖W−Ŵ‖²/‖W‖²; estimated where a large weight keeps many terms.
	Error  float64 `json:"error"`
	TiedTo string  `json:"tied_to,omitempty"` // the first layer of the same weight, which decides
	Reason string  `json:"reason,omitempty"`
}

// A Shape is the sizes of the factors of one pair: A is A[0]×A[1] and B is
// B[0]×B[1], so that A ⊗ B covers Out×In.
type Shape struct {
	A [2]int `json:"a"`
	B [2]int `json:"b"`
}

func shapeOf(s factorize.Shape) *Shape {
	return &Shape{A: [2]int{s.M1, s.N1}, B: [2]int{s.M2, s.N2}}
}

func (s *Shape) factorize() factorize.Shape {
	return factorize.Shape{M1: s.A[0], N1: s.A[1], M2: s.B[0], N2: s.B[1]}
}

func (s *Shape) String() string { return s.factorize().String() }

// A Tradeoff is what a budget would cost. Error is the mean of ‖W−Ŵ‖²/‖W‖²
// over the weights that may be compressed, dense ones counting 0.
type Tradeoff struct {
	Ratio    float64 `json:"ratio"`
	Params   int64   `json:"params"` // of the plan under that ratio; of the smallest plan where none is feasible
	Error    float64 `json:"error"`
	Feasible bool    `json:"feasible"`
}

// Note is what a person should know of a layer: the reason for its action and,
// where wide layers were asked for, for its width.
func (p *Plan) Note(l *LayerPlan) string {
	if p.Options.Widen < 2 || l.NoWiden == "" || l.Action == ActSkipped {
		return l.Reason
	}
	why := "not widened: " + l.NoWiden
	if l.Reason == "" {
		return why
	}
	return l.Reason + "; " + why
}

// Changes reports whether the plan replaces any layer.
func (p *Plan) Changes() bool {
	for i := range p.Layers {
		if a := p.Layers[i].Action; a == ActBilinear || a == ActLowRank {
			return true
		}
	}
	return false
}

// layersKey is equal for plans that do the same to all layers.
func layersKey(layers []LayerPlan) string {
	var b strings.Builder
	for i := range layers {
		e := &layers[i]
		if e.Action != ActBilinear && e.Action != ActLowRank {
			continue
		}
		fmt.Fprintf(&b, "%q %s %v %d %s %d;", e.Name, e.Action, e.Shape, e.Terms, e.Start, e.Widen)
	}
	return b.String()
}

// Write writes the plan as indented JSON.
func (p *Plan) Write(w io.Writer) error {
	b, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// ReadPlan reads what Write wrote, perhaps edited. It refuses other versions
// and fields that it does not know; the error wraps ErrPlan.
func ReadPlan(r io.Reader) (*Plan, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	var head struct {
		Version *int `json:"bilinc_plan"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPlan, err)
	}
	if head.Version == nil {
		return nil, fmt.Errorf("%w: no field bilinc_plan", ErrPlan)
	}
	if *head.Version != PlanVersion {
		return nil, fmt.Errorf("%w: version %d, this program reads version %d", ErrPlan, *head.Version, PlanVersion)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	p := new(Plan)
	if err := dec.Decode(p); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPlan, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("%w: more than one JSON value", ErrPlan)
	}
	return p, nil
}

// An InfeasibleError says that no plan meets the budget.
type InfeasibleError struct {
	Unit     string // parameters or bytes
	Budget   int64
	Least    int64 // what the smallest plan needs
	Tradeoff []Tradeoff
}

func (e *InfeasibleError) Error() string {
	return fmt.Sprintf("a budget of %d %s cannot be met: the smallest plan has %d", e.Budget, e.Unit, e.Least)
}
