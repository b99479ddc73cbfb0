package op

import (
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// A Functional op applies a function of the kernels to each float32 element of
// its result while that is in a near cache.
type Functional interface {
	Op
	// ForwardThen is Forward, then f with its parameters. Outputs of other
	// types than float32 allow kernel.Identity alone.
	ForwardThen(ctx *Ctx, in, out []tensor.Value, f kernel.Function, alpha, beta float32) error
}
