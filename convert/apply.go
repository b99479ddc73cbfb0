package convert

import (
	"context"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
)

// ApplyOptions is what Apply needs beside the plan.
type ApplyOptions struct {
	ModelSHA256 string       // of the model's files; compared with the plan's where both are set
	Pool        *kernel.Pool // nil: the caller's goroutine alone
	// Progress is called before each layer is factorised; may be nil.
	Progress func(layer string, done, total int)
}

// NewPlan decides for every layer of m what becomes of it. The error is an
// *InfeasibleError where no plan meets the budget, and wraps ErrOptions where
// the options are at fault.
func NewPlan(ctx context.Context, m *graph.Model, o Options) (*Plan, error) { panic("not yet") }

// Apply carries a plan out on a copy of m. The error wraps ErrPlan where the
// plan does not fit the model. A plan that changes nothing gives an equal
// model back.
func Apply(ctx context.Context, m *graph.Model, p *Plan, o ApplyOptions) (*graph.Model, *Report, error) {
	panic("not yet")
}
