// Package convert replaces the fully connected layers of a model by bilinear
// factors: NewPlan decides under a budget, Apply carries a plan out, Verify
// compares the outputs of the two models.
package convert
