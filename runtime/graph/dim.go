package graph

import (
	"slices"
	"strconv"
	"strings"

	"bilinc/runtime/tensor"
)

// A Dim is one dimension of a shape: a number, a product of a number and
// symbols (as in 49*N), or unknown. Dims are comparable: two that are equal
// and known (IsKnown) have the same size in every run.
type Dim struct {
	n       int    // coefficient; negative where unknown
	symbols string // "" or names joined by "*", sorted
}

// Unknown is the dimension of which nothing is known.
var Unknown = Dim{n: -1}

// Size is the dimension of n elements.
func Size(n int) Dim { return Dim{n: n} }

// Symbol is the dimension that a model calls name; the empty name is Unknown.
func Symbol(name string) Dim {
	if name == "" {
		return Unknown
	}
	parts := strings.Split(name, "*")
	slices.Sort(parts)
	return Dim{n: 1, symbols: strings.Join(parts, "*")}
}

// Const is the number, where the dimension is one.
func (d Dim) Const() (int, bool) { return d.n, d.n >= 0 && d.symbols == "" }

// Is reports whether the dimension is the number n.
func (d Dim) Is(n int) bool { return d.n == n && d.symbols == "" && n >= 0 }

// IsKnown reports whether the dimension is a number or an expression.
func (d Dim) IsKnown() bool { return d.n >= 0 }

// Same reports whether both are known and equal in every run.
func (d Dim) Same(e Dim) bool { return d == e && d.IsKnown() }

// Mul is the product of two dimensions; Unknown where its number is too large
// for any tensor.
func (d Dim) Mul(e Dim) Dim {
	switch {
	case d.Is(0) || e.Is(0):
		return Size(0)
	case !d.IsKnown() || !e.IsKnown():
		return Unknown
	case d.n != 0 && e.n > tensor.MaxElements/d.n:
		return Unknown
	case d.symbols == "":
		return Dim{d.n * e.n, e.symbols}
	case e.symbols == "":
		return Dim{d.n * e.n, d.symbols}
	}
	parts := append(strings.Split(d.symbols, "*"), strings.Split(e.symbols, "*")...)
	slices.Sort(parts)
	return Dim{d.n * e.n, strings.Join(parts, "*")}
}

// Div is the quotient where e divides d in every run, else Unknown.
func (d Dim) Div(e Dim) Dim {
	if !d.IsKnown() || !e.IsKnown() || e.n == 0 || d.n%e.n != 0 {
		return Unknown
	}
	if e.symbols == "" {
		return Dim{d.n / e.n, d.symbols}
	}
	rest := strings.Split(d.symbols, "*")
	for _, s := range strings.Split(e.symbols, "*") {
		i := slices.Index(rest, s)
		if i < 0 {
			return Unknown
		}
		rest = slices.Delete(rest, i, i+1)
	}
	return Dim{d.n / e.n, strings.Join(rest, "*")}
}

func (d Dim) String() string {
	switch {
	case !d.IsKnown():
		return "?"
	case d.symbols == "":
		return strconv.Itoa(d.n)
	case d.n == 1:
		return d.symbols
	}
	return strconv.Itoa(d.n) + "*" + d.symbols
}

// Eval is the size of the dimension where sizes gives each symbol's; false
// where one is missing.
func (d Dim) Eval(sizes map[string]int) (int, bool) {
	if !d.IsKnown() {
		return 0, false
	}
	n := d.n
	if d.symbols != "" {
		for _, s := range strings.Split(d.symbols, "*") {
			v, ok := sizes[s]
			if !ok {
				return 0, false
			}
			n *= v
		}
	}
	return n, true
}

// Sizes is the shape of numbers as dimensions.
func Sizes(shape []int) []Dim {
	out := make([]Dim, len(shape))
	for i, n := range shape {
		out[i] = Size(n)
	}
	return out
}

// Ints is the shape as numbers where all dimensions are.
func Ints(shape []Dim) ([]int, bool) {
	out := make([]int, len(shape))
	for i, d := range shape {
		n, ok := d.Const()
		if !ok {
			return nil, false
		}
		out[i] = n
	}
	return out, true
}

// Product is the product of dimensions; that of none is 1.
func Product(shape []Dim) Dim {
	p := Size(1)
	for _, d := range shape {
		p = p.Mul(d)
	}
	return p
}

// FormatShape prints a shape as [N 784], an unknown rank as [...].
func FormatShape(shape []Dim, ranked bool) string {
	if !ranked {
		return "[...]"
	}
	parts := make([]string, len(shape))
	for i, d := range shape {
		parts[i] = d.String()
	}
	return "[" + strings.Join(parts, " ") + "]"
}
