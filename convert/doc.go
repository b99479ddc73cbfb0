// Package convert replaces the fully connected layers of a model by bilinear
// factors: NewPlan decides under a budget, Apply carries a plan out, Verify
// compares the outputs of the two models.
//
// A layer's weight W of m×n becomes Ŵ = Σ_r A_r ⊗ B_r, of which low rank is a
// corner. Planning knows each weight as a curve of error over parameters, whose
// points are shapes and numbers of terms (curve.go), and shares the budget out
// over the curves (allocate.go). What fills the curves, ‖W−Ŵ‖²/‖W‖² from the
// singular values of the rearranged weight, is asked for in one place, newCurve.
//
// With a Calibration, the curves come from fits to the inputs that the layers
// see (calibration.go, fitcurve.go), in the metric of what errors do to the
// model's outputs (sensitivity.go); the best plans are carried out in trial and
// compared by the outputs on rows held out (fitplan.go, score.go).
//
// A Plan is a value: it holds shapes and numbers of terms, no factors, so that
// it can be read, edited and carried out again with the same result. Apply
// computes the factors and writes them as two products for any number of terms,
//
//	x as [N·n1, n2] → MatMul B [n2, R·m2] → as [N, n1·R, m2] → MatMul A [m1, n1·R] from the left → as [N, m]
//
// or the like with A first, in operators of the model's own operator set
// (lower.go, product.go). The original's inputs, outputs, names and metadata
// stay; the metadata entry LayersKey tells what was done, and ReadLayers reads
// it back. Weights that several layers share are replaced once for all of them.
package convert
