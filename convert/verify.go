package convert

import (
	"context"

	"bilinc/convert/dataset"
	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
)

// VerifyOptions says how Verify runs the models.
type VerifyOptions struct {
	Batch int          // rows per run; 0 is 64
	Pool  *kernel.Pool // nil: the caller's goroutine alone
	Seed  uint64       // of random operators
}

// Verify runs both models on all rows of data and compares every output of
// the graph. Where one cannot be compared its RelError is nil and a warning
// says why; the error is for data that cannot be read and for ctx.
func Verify(ctx context.Context, original, compressed *graph.Model, data *dataset.Bound, o VerifyOptions) (outputs map[string]*OutputReport, warnings []string, err error) {
	panic("not yet")
}
