//go:build !amd64 || noasm

package kernel

// All elements are left to the plain loops.

func zipLoop(_ Operation, _ kind, _ int, _, _, _ *byte) bool { return false }

func logicLoop(_ Logic, _ int, _, _, _ *byte) bool { return false }

func compareLoop(_ Comparison, _ kind, _ int, _, _, _ *byte) bool { return false }

func chooseLoop(_ uintptr, _ int, _, _, _, _ *byte) bool { return false }

func convertLoop(_, _ kind, _ int, _, _ *byte) int { return 0 }
