package factorize

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Shape gives the sizes of the factors of a Kronecker sum: every A_r is M1×N1, every B_r is M2×N2. A shape serves
// matrices of up to M1·M2 rows and N1·N2 columns; where it is larger than the matrix, the matrix is taken as padded
// with zeros and the product is cropped.
type Shape struct{ M1, N1, M2, N2 int }

// LowRankShape returns the shape {m, 1, 1, n}, in which R terms are a product of m×R and R×n.
func LowRankShape(m, n int) Shape { return Shape{m, 1, 1, n} }

// IsLowRank reports whether a sum of R terms of this shape is a product of rank R.
func (s Shape) IsLowRank() bool { return s.N1 == 1 && s.M2 == 1 }

// Params returns the numbers that the given number of terms holds.
func (s Shape) Params(terms int) int { return terms * (s.M1*s.N1 + s.M2*s.N2) }

// MaxTerms returns the number of terms from which on any matrix is represented exactly.
func (s Shape) MaxTerms() int { return min(s.M1*s.N1, s.M2*s.N2) }

// TermsWithin returns the largest number of terms with at most params numbers, at most MaxTerms; 0 if not even one
// term fits.
func (s Shape) TermsWithin(params int) int {
	return max(0, min(params/(s.M1*s.N1+s.M2*s.N2), s.MaxTerms()))
}

// Pads reports whether a matrix of m rows and n columns is padded to this shape.
func (s Shape) Pads(m, n int) bool { return s.M1*s.M2 > m || s.N1*s.N2 > n }

// MACs returns the multiplications for one input vector in the cheaper of the two orders, B first or A first.
func (s Shape) MACs(terms int) int {
	bFirst := s.N1 * s.M2 * (s.N2 + s.M1)
	aFirst := s.M1 * s.N2 * (s.N1 + s.M2)
	return terms * min(bFirst, aFirst)
}

// String returns the shape as "A×B", for example "32x28 ⊗ 32x28".
func (s Shape) String() string { return fmt.Sprintf("%dx%d ⊗ %dx%d", s.M1, s.N1, s.M2, s.N2) }

// check returns an error unless the shape can hold a matrix of m rows and n columns. No block may lie in the padding
// altogether: the left factor would have rows or columns without any effect.
func (s Shape) check(m, n int) error {
	if s.M1 < 1 || s.N1 < 1 || s.M2 < 1 || s.N2 < 1 {
		return fmt.Errorf("shape %v: every size must be at least 1", s)
	}
	// The bounds keep the products below within an int.
	if s.M1 > m || s.M2 > m || s.N1 > n || s.N2 > n {
		return fmt.Errorf("shape %v has a factor larger than the matrix [%d %d]", s, m, n)
	}
	if s.M1*s.M2 < m || s.N1*s.N2 < n {
		return fmt.Errorf("shape %v holds at most [%d %d], the matrix is [%d %d]", s, s.M1*s.M2, s.N1*s.N2, m, n)
	}
	if (s.M1-1)*s.M2 >= m || (s.N1-1)*s.N2 >= n {
		return fmt.Errorf("shape %v has blocks of nothing but padding, the matrix is [%d %d]", s, m, n)
	}
	return nil
}

// split is a dimension d written as d1·d2 ≥ d.
type split struct{ d1, d2 int }

// splits returns the ways to split d: every divisor pair, and for every octave of d1 (a factor √2 either side of a
// power of two) that has no divisor of d the least padded pair there. So a prime has about log2(d) splits, and a
// dimension with divisors everywhere is never padded. Ascending in d1.
func splits(d int) []split {
	var out []split
	for d1 := 1; d1 <= d; d1++ {
		if d%d1 == 0 {
			out = append(out, split{d1, d / d1})
		}
	}
	divisors := len(out)
	for t := 2.0; t <= float64(d)/2; t *= 2 {
		lo, hi := int(math.Ceil(t/math.Sqrt2)), int(math.Floor(t*math.Sqrt2))
		if slices.ContainsFunc(out[:divisors], func(s split) bool { return lo <= s.d1 && s.d1 <= hi }) {
			continue
		}
		var best split
		for d1 := max(lo, 2); d1 <= min(hi, d-1); d1++ {
			d2 := (d + d1 - 1) / d1
			if d2 < 2 || (d1-1)*d2 >= d { // a block of nothing but padding
				continue
			}
			if best.d1 == 0 || d1*d2 < best.d1*best.d2 {
				best = split{d1, d2}
			}
		}
		if best.d1 != 0 {
			out = append(out, best)
		}
	}
	slices.SortFunc(out, func(a, b split) int { return a.d1 - b.d1 })
	return out
}

// Shapes returns the shapes worth trying for a matrix of m rows and n columns: all pairs of divisors, padded ones
// where a dimension factors badly, and the low-rank corner, which comes first. Shapes of which one term is as large
// as the matrix are left out, and so is the mirror of the low-rank corner. The order is fixed: by M1, then N1.
func Shapes(m, n int) []Shape {
	if m < 1 || n < 1 {
		return nil
	}
	low := LowRankShape(m, n)
	out := []Shape{low}
	for _, r := range splits(m) {
		for _, c := range splits(n) {
			s := Shape{r.d1, c.d1, r.d2, c.d2}
			mirror := s.M1 == 1 && s.N2 == 1
			if s == low || mirror || s.Params(1) >= m*n {
				continue
			}
			out = append(out, s)
		}
	}
	return out
}

// balancedSlack is how many more parameters than the least Balanced accepts for a product of higher rank.
const balancedSlack = 1.1

// Balanced returns the shape of the one balanced pair. Of the shapes that need at most balancedSlack times the
// parameters of the smallest it takes the one whose products reach the highest rank; of equals one without padding,
// then the smallest, then the one whose factors are most alike.
func Balanced(m, n int) Shape {
	if m < 1 || n < 1 {
		return Shape{max(m, 0), 1, 1, max(n, 0)}
	}
	shapes := Shapes(m, n)
	least := shapes[0].Params(1)
	for _, s := range shapes {
		least = min(least, s.Params(1))
	}
	return slices.MinFunc(shapes, func(a, b Shape) int {
		fits := func(s Shape) bool { return float64(s.Params(1)) <= balancedSlack*float64(least) }
		rank := func(s Shape) int { return min(min(s.M1, s.N1)*min(s.M2, s.N2), m, n) }
		return cmp.Or(
			falseFirst(!fits(a), !fits(b)),
			cmp.Compare(rank(b), rank(a)),
			falseFirst(a.Pads(m, n), b.Pads(m, n)),
			cmp.Compare(a.Params(1), b.Params(1)),
			cmp.Compare(a.imbalance(), b.imbalance()),
		)
	})
}

// falseFirst compares two conditions for sorting.
func falseFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// imbalance is 0 for two factors of the same size and grows with the ratios of their sides.
func (s Shape) imbalance() float64 {
	return math.Abs(math.Log(float64(s.M1)/float64(s.M2))) + math.Abs(math.Log(float64(s.N1)/float64(s.N2)))
}
