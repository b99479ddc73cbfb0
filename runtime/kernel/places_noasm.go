//go:build !amd64 || noasm

package kernel

// All integers are left to the plain loops.

func placesBlocks[I Integer]([]int32, []I, int, int, int, int) (n int, ok bool) { return 0, true }

func pairsBlocks[I Integer]([]int32, []I, int, int) (n int, ok bool) { return 0, true }

func amongBlocks([]int32, []int32, []int32, int, int) (n, found int) { return 0, 0 }
