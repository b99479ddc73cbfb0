// Package factorize approximates matrices by sums of Kronecker products.
//
// A fully connected layer y = W x + b has a weight W of m rows and n columns. The package finds
//
//	Ŵ = Σ_r A_r ⊗ B_r,   A_r of M1×N1, B_r of M2×N2,
//
// which needs R·(M1·N1 + M2·N2) numbers instead of m·n. The shape {m, 1, 1, n} is the ordinary low-rank
// product U Vᵀ, so one code covers both.
//
// Without data, Decompose gives the terms that are best in the Frobenius norm (C. Van Loan and N. Pitsianis,
// "Approximation with Kronecker products", 1993). With the moments of a layer's inputs (Moments), a Fitter minimises the
// error of the layer's output instead: LowRank in closed form, Start and Fit for a shape, Search over shapes.
// PropagateWeight makes a fit mind what the next layer minds, and Moments.Widen starts a layer of more outputs.
//
// All arithmetic is in float64. Results depend on the arguments and the seed, never on the number of threads.
package factorize
