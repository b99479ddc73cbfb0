package factorize

import (
	"reflect"
	"testing"
)

func TestSplits(t *testing.T) {
	for _, test := range []struct {
		d    int
		want []split
	}{
		{1, []split{{1, 1}}},
		{2, []split{{1, 2}, {2, 1}}},
		{7, []split{{1, 7}, {2, 4}, {7, 1}}},
		{10, []split{{1, 10}, {2, 5}, {5, 2}, {10, 1}}},
		{13, []split{{1, 13}, {2, 7}, {3, 5}, {13, 1}}},
		{16, []split{{1, 16}, {2, 8}, {4, 4}, {8, 2}, {16, 1}}},
	} {
		if got := splits(test.d); !reflect.DeepEqual(got, test.want) {
			t.Errorf("splits(%d) = %v, want %v", test.d, got, test.want)
		}
	}
	for d := 1; d <= 300; d++ {
		last := 0
		for _, s := range splits(d) {
			switch {
			case s.d1 <= last:
				t.Fatalf("splits(%d) = %v: not ascending", d, splits(d))
			case s.d1*s.d2 < d || (s.d1-1)*s.d2 >= d || s.d1*(s.d2-1) >= d:
				t.Fatalf("splits(%d): %v is too small, or larger than needed", d, s)
			}
			last = s.d1
		}
	}
	if n := len(splits(6625)); n < 12 || n > 20 {
		t.Errorf("6625 = 5³·53 has %d splits, want one for every octave and little more", n)
	}
}

func TestShapes(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {1, 7}, {7, 1}, {10, 1024}, {1024, 784}, {13, 17}, {6625, 120}, {64, 64}} {
		m, n := size[0], size[1]
		shapes := Shapes(m, n)
		if shapes[0] != LowRankShape(m, n) || !shapes[0].IsLowRank() {
			t.Errorf("Shapes(%d, %d) starts with %v, want the low-rank corner", m, n, shapes[0])
		}
		seen := map[Shape]bool{}
		for _, s := range shapes {
			if err := s.check(m, n); err != nil || seen[s] {
				t.Errorf("Shapes(%d, %d): %v: twice %v, error %v", m, n, s, seen[s], err)
			}
			seen[s] = true
		}
		if !reflect.DeepEqual(shapes, Shapes(m, n)) {
			t.Errorf("Shapes(%d, %d) differs from call to call", m, n)
		}
	}
	// All divisor pairs of 64 = 2⁶ in both dimensions, less the two that are as large as W and one mirror.
	if got := len(Shapes(64, 64)); got != 7*7-3 {
		t.Errorf("Shapes(64, 64) has %d shapes, want %d", got, 7*7-3)
	}
	if got := Shapes(0, 5); got != nil {
		t.Errorf("Shapes(0, 5) = %v, want none", got)
	}
}

func TestBalanced(t *testing.T) {
	for _, test := range []struct {
		m, n int
		want Shape
	}{
		{1024, 1024, Shape{32, 32, 32, 32}},
		{1024, 784, Shape{32, 28, 32, 28}},
		{10, 1024, Shape{2, 64, 5, 16}},
		{768, 3072, Shape{24, 64, 32, 48}},
		{1, 1, Shape{1, 1, 1, 1}},
		{1, 16, Shape{1, 4, 1, 4}},
		{17, 64, Shape{3, 8, 6, 8}},         // no exact pair of at most 72 parameters has a rank above 2
		{1021, 1021, Shape{31, 31, 33, 33}}, // 1023 is the least padding of that octave,
		{7, 1, Shape{2, 1, 4, 1}},
	} {
		got := Balanced(test.m, test.n)
		if got != test.want {
			t.Errorf("Balanced(%d, %d) = %v, want %v", test.m, test.n, got, test.want)
		}
	}
}

func TestShapeCounts(t *testing.T) {
	s := Shape{4, 3, 5, 2}
	if s.Params(7) != 7*(12+10) || s.MaxTerms() != 10 || s.TermsWithin(21) != 0 || s.TermsWithin(65) != 2 || s.TermsWithin(1e6) != 10 {
		t.Errorf("%v: %d parameters of 7 terms, at most %d terms, %d within 65", s, s.Params(7), s.MaxTerms(), s.TermsWithin(65))
	}
	// B first: X is 3×2, X Bᵀ takes 3·2·5, A times it 4·3·5. A first: 4·3·2 and 4·2·5.
	if got, want := s.MACs(2), 2*(4*3*2+4*2*5); got != want {
		t.Errorf("%v: %d multiplications of 2 terms, want %d", s, got, want)
	}
	if s.Pads(20, 6) || !s.Pads(19, 6) || !s.Pads(20, 5) {
		t.Errorf("%v: Pads is wrong", s)
	}
	if got := s.String(); got != "4x3 ⊗ 5x2" {
		t.Errorf("String is %q", got)
	}
}
