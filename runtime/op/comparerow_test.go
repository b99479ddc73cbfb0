package op

import (
	"fmt"
	"math"
	"testing"

	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// bothSides are shapes that meet in every way that a row can: side by side, one element for a row, a column for a
// matrix.
var bothSides = [][2][]int{
	{{70000}, {70000}}, {{40001}, {1}}, {{1}, {300}}, {{3, 700}, {3, 1}}, {{1, 700}, {30, 1}}, {{5, 1}, {5, 1}}, {{}, {}}, {{0, 3}, {3}}, {{2, 3, 4}, {3, 1}},
}

// spotted is small whole numbers, and NaN in between where the type has it.
func spotted(d tensor.DType, seed int, shape []int) *tensor.Tensor {
	x := tensor.New(tensor.Float64, shape...)
	for i := range tensor.Data[float64](x) {
		tensor.Data[float64](x)[i] = float64((i*7 + seed) * 31 % 5)
		if d.IsFloat() && (i+seed)%11 == 0 {
			tensor.Data[float64](x)[i] = math.NaN()
		}
	}
	y := tensor.New(d, shape...)
	if err := castTo(nil, x, y); err != nil {
		panic(err)
	}
	return y
}

// broadcastAt is where an element of a result reads an operand that is broadcast to it.
func broadcastAt(k int, result, operand []int) int {
	place, step := 0, 1
	for i := len(operand) - 1; i >= 0; i-- {
		d := result[len(result)-len(operand)+i]
		if operand[i] != 1 {
			place += k % d * step
		}
		k, step = k/d, step*operand[i]
	}
	return place
}

func broadcastShape(a, b []int) []int {
	out := make([]int, max(len(a), len(b)))
	for i := range out {
		out[i] = 1
		for _, s := range [][]int{a, b} {
			if k := i - len(out) + len(s); k >= 0 && s[k] != 1 {
				out[i] = s[k]
			}
		}
	}
	return out
}

func compareCase[T number](t *testing.T, d tensor.DType, pools []*kernel.Pool) {
	t.Helper()
	for _, o := range []*compare{{"Less", true, false, false}, {"LessOrEqual", true, true, false}, {"Equal", false, true, false}, {"Greater", false, false, true}, {"GreaterOrEqual", false, true, true}} {
		for _, s := range bothSides {
			a, b := spotted(d, 1, s[0]), spotted(d, 2, s[1])
			shape := broadcastShape(s[0], s[1])
			for _, p := range pools {
				got := tensor.New(tensor.Bool, shape...)
				if err := o.Forward(&Ctx{Pool: p}, []tensor.Value{tensor.ValueOf(a), tensor.ValueOf(b)}, []tensor.Value{tensor.ValueOf(got)}); err != nil {
					t.Fatal(err)
				}
				f := compareAs[T](o)
				for k, v := range tensor.Data[bool](got) {
					x, y := tensor.Data[T](a)[broadcastAt(k, shape, s[0])], tensor.Data[T](b)[broadcastAt(k, shape, s[1])]
					if v != f(x, y) {
						t.Fatalf("%v %s %v of %v is %v at %d on %d threads", x, o.name, y, d, v, k, p.Threads())
					}
				}
			}
		}
	}
}

func TestCompareAgainstPlain(t *testing.T) {
	pools := poolsOfThree(t)
	compareCase[float32](t, tensor.Float32, pools)
	compareCase[float64](t, tensor.Float64, pools)
	compareCase[int64](t, tensor.Int64, pools)
	compareCase[uint8](t, tensor.Uint8, pools)
}

// Each element comes from where the condition says, whatever is broadcast.
func TestWhereAgainstPlain(t *testing.T) {
	pools := poolsOfThree(t)
	for _, s := range bothSides {
		for turn := range 3 {
			whole := broadcastShape(s[0], s[1])
			shapes := [3][]int{whole, s[0], s[1]}
			shapes[0], shapes[turn] = shapes[turn], shapes[0]
			cond := as2bool(spotted(tensor.Float32, 3, shapes[0]))
			x, y := numbered(tensor.Int64, shapes[1]...), numbered(tensor.Int64, shapes[2]...)
			for i := range tensor.Data[int64](y) {
				tensor.Data[int64](y)[i] -= 1000
			}
			for _, p := range pools {
				got := tensor.New(tensor.Int64, whole...)
				in := []tensor.Value{tensor.ValueOf(cond), tensor.ValueOf(x), tensor.ValueOf(y)}
				if err := (where{}).Forward(&Ctx{Pool: p}, in, []tensor.Value{tensor.ValueOf(got)}); err != nil {
					t.Fatal(err)
				}
				for k, v := range tensor.Data[int64](got) {
					want := tensor.Data[int64](y)[broadcastAt(k, whole, shapes[2])]
					if tensor.Data[bool](cond)[broadcastAt(k, whole, shapes[0])] {
						want = tensor.Data[int64](x)[broadcastAt(k, whole, shapes[1])]
					}
					if v != want {
						t.Fatalf("%v on %d threads: %d at %d, wanted %d", shapes, p.Threads(), v, k, want)
					}
				}
			}
		}
	}
}

// A few neighbours that are folded each by itself come to what rows of them do.
func TestFoldDownAgainstColumns(t *testing.T) {
	v := tensor.Data[float32](random(8, 900*3))
	for f := foldSum; f < foldExp; f++ {
		want, got := []float64{1, 2, 3}, []float64{1, 2, 3}
		for k := range 900 {
			foldColumns(f, want, v[3*k:3*k+3])
		}
		for j := range got {
			got[j] = foldDown(f, got[j], v[j:], 3, 900)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("folding %d: %v, wanted %v", f, got, want)
		}
	}
}

// NaN as a bound gives NaN, NaN as an element stays, and where bounds cross the upper one wins.
func TestClipBounds(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	x := list(-inf, -2, 0.5, 3, inf, nan)
	for _, c := range []struct{ lo, hi float32 }{{-1, 1}, {2, 1}, {nan, 1}, {-1, nan}, {-inf, inf}} {
		y := tensor.New(tensor.Float32, x.Len())
		in := []tensor.Value{tensor.ValueOf(x), tensor.ValueOf(tensor.Scalar(c.lo)), tensor.ValueOf(tensor.Scalar(c.hi))}
		if err := (&clip{inputs: true}).Forward(&Ctx{}, in, []tensor.Value{tensor.ValueOf(y)}); err != nil {
			t.Fatal(err)
		}
		for i, got := range tensor.Data[float32](y) {
			if want := min(max(tensor.Data[float32](x)[i], c.lo), c.hi); got != want && (got == got || want == want) {
				t.Errorf("%v between %v and %v is %v, wanted %v", tensor.Data[float32](x)[i], c.lo, c.hi, got, want)
			}
		}
	}
}
