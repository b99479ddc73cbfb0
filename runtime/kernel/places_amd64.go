//go:build !noasm

package kernel

//go:generate sh -c "cd _asm && go run . -places -out ../places_amd64.s -stubs ../places_stubs_amd64.go -pkg kernel"

// sixteensOf is how many of n integers the loops here do: only AVX-512 has them.
func sixteensOf(n int) int {
	if n >= 16 && active.Load().name == "avx512" {
		return n &^ 15
	}
	return 0
}

// placesBlocks and those below do as many as whole blocks have, and return their number.
func placesBlocks[I Integer](places []int32, list []I, d, step, along, from int) (n int, ok bool) {
	if n = sixteensOf(len(places)); n == 0 {
		return 0, true
	}
	switch v := any(list).(type) {
	case []int64:
		return n, places64AVX512(n, places, v, d, step, along, from)
	case []int32:
		return n, places32AVX512(n, places, v, d, step, along, from)
	}
	return 0, true
}

func pairsBlocks[I Integer](places []int32, list []I, high, wide int) (n int, ok bool) {
	if n = sixteensOf(len(places)); n == 0 {
		return 0, true
	}
	switch v := any(list).(type) {
	case []int64:
		return n, pairs64AVX512(n, places, v, high, wide)
	case []int32:
		return n, pairs32AVX512(n, places, v, high, wide)
	}
	return 0, true
}

func amongBlocks(where, which, places []int32, least, count int) (n, found int) {
	if n = sixteensOf(len(places)); n == 0 {
		return 0, 0
	}
	return n, amongAVX512(n, where, which, places, least, count)
}
