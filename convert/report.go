package convert

import (
	"bilinc/factorize"
	"bilinc/runtime/graph"
)

// A Report is what was done to a model, and how well. Fields that only the
// caller can know (file sizes, metrics, seconds) are left for it to fill.
type Report struct {
	ParamsBefore int64   `json:"params_before"`
	ParamsAfter  int64   `json:"params_after"`
	Ratio        float64 `json:"ratio"`
	BytesBefore  int64   `json:"bytes_before"`
	BytesAfter   int64   `json:"bytes_after"`
	// MACs are multiplications per sample; nil where they are not known.
	MACsBefore *int64        `json:"macs_before"`
	MACsAfter  *int64        `json:"macs_after"`
	Layers     []LayerReport `json:"layers"`
	// Outputs has an entry per output of the graph once the models were
	// compared.
	Outputs      map[string]*OutputReport `json:"outputs"`
	MetricBefore *float64                 `json:"metric_before,omitempty"`
	MetricAfter  *float64                 `json:"metric_after,omitempty"`
	Seconds      float64                  `json:"seconds"`
	Warnings     []string                 `json:"warnings,omitempty"`
}

// A LayerReport is what was done to one layer.
type LayerReport struct {
	Name         string  `json:"name"`
	Action       Action  `json:"action"`
	Shape        *Shape  `json:"shape"`
	Terms        int     `json:"terms"`
	Widen        int     `json:"widen"`
	Start        Start   `json:"start,omitempty"` // random: the factors are draws, to be trained
	ParamsBefore int64   `json:"params_before"`
	ParamsAfter  int64   `json:"params_after"`
	Error        float64 `json:"error"` // ‖W−Ŵ‖²/‖W‖² of the factors as they were written
	TiedTo       string  `json:"tied_to,omitempty"`
	Reason       string  `json:"reason"`
}

// An OutputReport compares one output of two models.
type OutputReport struct {
	// RelError is ‖y−ỹ‖²/‖y − mean y‖², the mean over the samples; nil where
	// it cannot be had.
	RelError *float64 `json:"rel_error"`
}

// newReport starts a report with what the plan says of each layer.
func newReport(p *Plan) *Report {
	r := &Report{Layers: []LayerReport{}}
	for i := range p.Layers {
		e := &p.Layers[i]
		l := LayerReport{Name: e.Name, Action: e.Action, Widen: 1, ParamsBefore: e.ParamsBefore, ParamsAfter: e.ParamsBefore,
			TiedTo: e.TiedTo, Reason: p.Note(e)}
		if e.Action == ActBilinear || e.Action == ActLowRank {
			l.Shape, l.Terms, l.Start = e.Shape, e.Terms, e.Start
			if l.Shape == nil {
				l.Shape = shapeOf(factorize.LowRankShape(e.Out, e.In))
			}
			if e.TiedTo == "" {
				l.ParamsAfter = int64(l.Shape.factorize().Params(l.Terms))
			}
		}
		r.Layers = append(r.Layers, l)
	}
	return r
}

// measure compares the sizes of the two models and sets the layers' errors.
func (r *Report) measure(before, after *graph.Model, errs map[string]float64) {
	r.ParamsBefore, r.ParamsAfter = Params(before), Params(after)
	r.Ratio = 1
	if r.ParamsAfter > 0 {
		r.Ratio = float64(r.ParamsBefore) / float64(r.ParamsAfter)
	}
	r.MACsBefore, r.MACsAfter = MACs(before, nil), MACs(after, nil)
	for i := range r.Layers {
		r.Layers[i].Error = errs[r.Layers[i].Name]
	}
}
