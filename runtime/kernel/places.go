package kernel

// Where indices point to. They run on the caller.

// Integer is the element type of indices.
type Integer interface{ int32 | int64 }

// Places computes, for every k,
//
//	places[k] = list[k]·step + k·along + from
//
// where d is added to indices below 0. It reports whether all are below d then, and not below 0; else places have no
// meaning. All numbers must be within int32, but for the indices.
func Places[I Integer](places []int32, list []I, d, step, along, from int) bool {
	list = list[:len(places)]
	n, ok := placesBlocks(places, list, d, step, along, from)
	return placesGeneric(places, list, n, d, step, along, from) && ok
}

// placesGeneric is Places from the n-th on.
func placesGeneric[I Integer](places []int32, list []I, n, d, step, along, from int) bool {
	ok := true
	for k := n; k < len(list); k++ {
		i := int(list[k])
		i += d & (i >> 63) // no branch: signs may well be mixed
		if uint(i) >= uint(d) {
			ok = false
		}
		places[k] = int32(i*step + k*along + from)
	}
	return ok
}

// PairPlaces computes, for every k,
//
//	places[k] = list[2k]·wide + list[2k+1]
//
// of indices into high rows of wide elements, as [Places] does.
func PairPlaces[I Integer](places []int32, list []I, high, wide int) bool {
	list = list[:2*len(places)]
	n, ok := pairsBlocks(places, list, high, wide)
	return pairsGeneric(places, list, n, high, wide) && ok
}

// pairsGeneric is PairPlaces from the n-th on.
func pairsGeneric[I Integer](places []int32, list []I, n, high, wide int) bool {
	ok := true
	for k := n; k < len(places); k++ {
		i, j := int(list[2*k]), int(list[2*k+1])
		i += high & (i >> 63)
		j += wide & (j >> 63)
		if uint(i) >= uint(high) || uint(j) >= uint(wide) {
			ok = false
		}
		places[k] = int32(i*wide + j)
	}
	return ok
}

// AmongSlack is how many elements more than places the lists of [Among] have.
const AmongSlack = 16

// Among lists, in their order, the places from least to before least+count: in which the k of each, in where
// its distance from least. It returns their number.
func Among(where, which, places []int32, least, count int) int {
	where, which = where[:len(places)+AmongSlack], which[:len(places)+AmongSlack]
	n, found := amongBlocks(where, which, places, least, count)
	return amongGeneric(where, which, places, n, found, least, count)
}

// amongGeneric is Among from the n-th on, when so many are found.
func amongGeneric(where, which, places []int32, n, found, least, count int) int {
	for k := n; k < len(places); k++ {
		at := int(places[k]) - least
		where[found], which[found] = int32(at), int32(k)
		found += int(uint64((at-count)&^at) >> 63) // no branch: it would be taken at random
	}
	return found
}
