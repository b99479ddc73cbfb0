package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// indicesFor is n indices, also negative ones, of an axis of d; some are outside of it where spoiled says so.
func indicesFor[I Integer](r *rand.Rand, n, d int, spoiled bool) []I {
	list := make([]I, n)
	for k := range list {
		list[k] = I(r.IntN(2*d) - d)
	}
	if spoiled && n > 0 {
		outside := []int64{int64(d), int64(-d - 1), math.MaxInt32, math.MinInt32, 1 << 32, 1<<32 + 1, -1 << 32, math.MaxInt64, math.MinInt64}
		if _, ok := any(list).([]int32); ok {
			outside = outside[:4]
		}
		list[r.IntN(n)] = I(outside[r.IntN(len(outside))])
	}
	return list
}

// settledBy is an index counted from the front, and whether there is such an element.
func settledBy(v int64, d int) (int, bool) {
	if v < 0 {
		v += int64(d)
	}
	return int(v), v >= 0 && v < int64(d)
}

func testPlaces[I Integer](t *testing.T) {
	r := rand.New(rand.NewPCG(41, 42))
	for _, n := range append(lengths(), 0, 1000) {
		for range 4 {
			d, wide, step, along, from, spoiled := 1+r.IntN(1000), 1+r.IntN(50), 1+r.IntN(100), r.IntN(3), r.IntN(1000), r.IntN(2) == 0
			list, places := indicesFor[I](r, n, d, spoiled), make([]int32, n+1)
			places[n] = -7
			if ok := Places(places[:n], list, d, step, along, from); ok != (!spoiled || n == 0) {
				t.Fatalf("%d indices of %d: %v, spoiled is %v", n, d, ok, spoiled)
			} else if ok {
				for k, v := range list {
					if i, _ := settledBy(int64(v), d); int(places[k]) != i*step+k*along+from {
						t.Fatalf("%d of %d: index %d of %d is at %d with steps %d, %d and %d", k, n, v, d, places[k], step, along, from)
					}
				}
			}
			pairs := make([]I, 2*n)
			first, second := indicesFor[I](r, n, d, spoiled && d%2 == 0), indicesFor[I](r, n, wide, spoiled && d%2 == 1)
			for k := range first {
				pairs[2*k], pairs[2*k+1] = first[k], second[k]
			}
			if ok := PairPlaces(places[:n], pairs, d, wide); ok != (!spoiled || n == 0) {
				t.Fatalf("%d pairs: %v, spoiled is %v", n, ok, spoiled)
			} else if ok {
				for k := range first {
					i, _ := settledBy(int64(first[k]), d)
					j, _ := settledBy(int64(second[k]), wide)
					if int(places[k]) != i*wide+j {
						t.Fatalf("%d of %d: indices %d, %d of [%d, %d] are at %d", k, n, first[k], second[k], d, wide, places[k])
					}
				}
			}
			if places[n] != -7 {
				t.Fatalf("wrote %d after %d places", places[n], n)
			}
		}
	}
}

func TestPlaces(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		testPlaces[int64](t)
		testPlaces[int32](t)
	})
}

func TestAmong(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(43, 44))
		for _, n := range append(lengths(), 0, 1000) {
			places := make([]int32, n)
			for k := range places {
				places[k] = int32(r.IntN(200))
			}
			least, count := r.IntN(200), r.IntN(200)
			where, which := make([]int32, n+AmongSlack), make([]int32, n+AmongSlack)
			found := Among(where, which, places, least, count)
			var wantWhere, wantWhich []int32
			for k, p := range places {
				if at := int(p) - least; at >= 0 && at < count {
					wantWhere, wantWhich = append(wantWhere, int32(at)), append(wantWhich, int32(k))
				}
			}
			if !slices.Equal(where[:found], wantWhere) || !slices.Equal(which[:found], wantWhich) {
				t.Fatalf("from %d on %d of %v: %v and %v", least, count, places, where[:found], which[:found])
			}
		}
	})
}
