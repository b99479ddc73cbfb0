package convert

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
