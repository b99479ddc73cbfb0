package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// plainMoments is the mean and the variance of numbers.
func plainMoments(x []float32) (mean, variance float64) {
	for _, v := range x {
		mean += float64(v)
	}
	mean /= float64(len(x))
	for _, v := range x {
		variance += (float64(v) - mean) * (float64(v) - mean)
	}
	return mean, variance / float64(len(x))
}

func TestNormaliseGroups32(t *testing.T) {
	const epsilon = 1e-5
	var across [][]float32
	inEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(41, 42))
		var all []float32
		for _, c := range [][3]int{{1, 1, 1}, {1, 3, 5}, {4, 2, 1}, {6, 1, 49}, {6, 1, 1000}, {4, 3, normChunk}, {3, 2, normChunk + 7}, {1, 1, normNear + 9}, {2, 3, normNear}, {40, 2, 1600}} {
			for _, offset := range []float32{0, 1000} {
				groups, per, n := c[0], c[1], c[2]
				channels := groups * per
				if channels%2 == 0 {
					channels /= 2 // two images
				}
				x, scale, bias := random[float32](r, groups*per*n+1)[1:], random[float32](r, channels), random[float32](r, channels)
				for i := range x {
					x[i] += offset
				}
				y := newFenced(r, 1, len(x))
				NormaliseGroups32(NewPool(2), groups, per, n, y.rows, x, scale, bias, epsilon)
				y.check(t, "normalised groups")
				got := y.rows[:len(x)]
				for g := range groups {
					mean, variance := plainMoments(x[g*per*n : (g+1)*per*n])
					for k := g * per * n; k < (g+1)*per*n; k++ {
						row := k / n % channels
						z := (float64(x[k]) - mean) / math.Sqrt(variance+epsilon) * float64(scale[row])
						want := z + float64(bias[row])
						// Rounded are the differences, the factor, the product and the sum.
						if tol := 4 * (ulp(z) + ulp(want) + ulp(float64(bias[row]))); !(math.Abs(float64(got[k])-want) <= tol) {
							t.Fatalf("%v around %v: element %d is %v, want %v", c, offset, k, got[k], want)
						}
					}
				}
				all = append(all, got...)
				alone := make([]float32, len(x))
				NormaliseGroups32(nil, groups, per, n, alone, x, scale, bias, epsilon)
				if i := firstDifference(alone, got); i >= 0 {
					t.Fatalf("%v: element %d is %v on one thread, %v on two", c, i, alone[i], got[i])
				}
				NormaliseGroups32(NewPool(2), groups, per, n, x, x, scale, bias, epsilon)
				if i := firstDifference(x, got); i >= 0 {
					t.Fatalf("%v in place: element %d is %v, want %v", c, i, x[i], got[i])
				}
			}
		}
		if Path() != "generic" {
			across = append(across, all)
		}
	})
	sameAcross(t, across)
}

func TestAffineRows32(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	inEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(43, 44))
		for _, n := range append(lengths(), 1000, normGrain+5, 3*normGrain) {
			m := 1 + r.IntN(9)
			own := 1 + r.IntN(m) // rows with coefficients, which the others share
			x, c := random[float32](r, m*n+1)[1:], random[float32](r, 4*own)
			x[r.IntN(len(x))], x[r.IntN(len(x))] = nan, inf
			y := newFenced(r, 1, m*n)
			AffineRows32(NewPool(2), m, n, y.rows, x, c)
			y.check(t, "scaled rows")
			for i, v := range x {
				k := c[i/n%own*4:][:4]
				z := (float64(v) - float64(k[0]) - float64(k[1])) * float64(k[2])
				got, want := float64(y.rows[i]), z+float64(k[3])
				slack := 3 * (ulp(z) + (ulp(float64(v))+ulp(float64(k[0]))+ulp(float64(k[1])))*math.Abs(float64(k[2])) + ulp(want))
				if !(math.Abs(got-want) <= slack) && got != want && (got == got || want == want) {
					t.Fatalf("%d rows of %d, %d with coefficients: element %d is %v, want %v", m, n, own, i, got, want)
				}
			}
		}
	})
}
