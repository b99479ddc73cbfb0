package graph

import (
	"testing"

	"bilinc/runtime/tensor"
)

func TestDimArithmetic(t *testing.T) {
	n, m := Symbol("N"), Symbol("M")
	for _, c := range []struct {
		got  Dim
		want string
	}{
		{Size(2).Mul(Size(3)), "6"},
		{n.Mul(Size(49)), "49*N"},
		{Size(49).Mul(n), "49*N"},
		{n.Mul(m), "M*N"},
		{m.Mul(n), "M*N"},
		{n.Mul(n).Mul(Size(2)), "2*N*N"},
		{n.Mul(Size(0)), "0"},
		{Unknown.Mul(Size(0)), "0"},
		{Unknown.Mul(Size(1)), "?"},
		{n.Mul(Unknown), "?"},
		{Size(6).Div(Size(4)), "?"},
		{Size(6).Div(Size(3)), "2"},
		{Size(6).Div(Size(0)), "?"},
		{n.Mul(Size(6)).Div(Size(3)), "2*N"},
		{n.Mul(Size(6)).Div(Size(4)), "?"},
		{n.Mul(m).Div(n), "M"},
		{n.Div(n), "1"},
		{n.Mul(n).Div(n), "N"},
		{n.Div(m), "?"},
		{Size(6).Div(n), "?"},
		{Unknown.Div(Size(1)), "?"},
		{Size(1).Div(Unknown), "?"},
		{n.Mul(Size(4)).Div(n.Mul(Size(2))), "2"},
		{Symbol(""), "?"},
		{Symbol("b*a"), "a*b"},
		{Product([]Dim{Size(2), n, Size(3)}), "6*N"},
		{Product(nil), "1"},
		{Size(1 << 40).Mul(Size(1 << 40)), "?"},
		{Symbol("N").Mul(Size(1 << 32)).Mul(Size(1 << 32)), "?"},
	} {
		if got := c.got.String(); got != c.want {
			t.Errorf("found %s, wanted %s", got, c.want)
		}
	}
}

// What Mul and Div say of symbols holds for every size of them.
func TestDimArithmeticHolds(t *testing.T) {
	dims := []Dim{Size(0), Size(1), Size(2), Size(6), Symbol("N"), Symbol("M"), Symbol("N").Mul(Size(3)), Symbol("N*M"), Unknown}
	for a := range dims {
		for b := range dims {
			x, y := dims[a], dims[b]
			for n := range 4 {
				for m := range 4 {
					sizes := map[string]int{"N": n, "M": m}
					p, pk := x.Mul(y).Eval(sizes)
					q, qk := x.Div(y).Eval(sizes)
					v, vk := x.Eval(sizes)
					w, wk := y.Eval(sizes)
					if pk && vk && wk && p != v*w {
						t.Fatalf("(%v)·(%v) is %v, but %d·%d is not %d", x, y, x.Mul(y), v, w, p)
					}
					if qk && (!vk || !wk || w != 0 && q*w != v) {
						t.Fatalf("(%v)/(%v) is %v, but %d/%d is not %d", x, y, x.Div(y), v, w, q)
					}
				}
			}
		}
	}
	if _, ok := Symbol("N").Eval(nil); ok {
		t.Error("a symbol without size has a value")
	}
}

func TestDimIdentity(t *testing.T) {
	if !Symbol("a*b").Same(Symbol("b").Mul(Symbol("a"))) || Unknown.Same(Unknown) || Size(2).Same(Symbol("N")) {
		t.Error("Same is wrong")
	}
	if !Size(3).Is(3) || Symbol("N").Is(1) || Unknown.Is(-1) {
		t.Error("Is is wrong")
	}
	if _, ok := Unknown.Const(); ok {
		t.Error("Unknown is a number")
	}
	if _, ok := Ints([]Dim{Size(1), Symbol("N")}); ok {
		t.Error("a symbol is a number")
	}
	if s := TensorType(tensor.Float32, Size(2), Symbol("N"), Unknown).String(); s != "float32[2 N ?]" {
		t.Errorf("type is %s", s)
	}
	if s := (Type{Kind: tensor.KindTensor}).String(); s != "undefined[...]" {
		t.Errorf("type is %s", s)
	}
	elem := TensorType(tensor.Int64)
	if s := (Type{Kind: tensor.KindSequence, Elem: &elem}).String(); s != "sequence(int64[])" {
		t.Errorf("type is %s", s)
	}
}

func TestFactOf(t *testing.T) {
	f := FactOf(tensor.Of([]int64{2, 0}, 2))
	if len(f.Ints) != 2 || !f.Ints[0].Is(2) || !f.Ints[1].Is(0) || f.String() != "int64[2]" {
		t.Errorf("fact is %v %v", f.Type, f.Ints)
	}
	for _, x := range []*tensor.Tensor{
		tensor.Of([]int64{2, -1}, 2),
		tensor.Of([]float32{2}, 1),
		tensor.Of([]int64{2}, 1, 1),
		tensor.New(tensor.Int64, maxInts+1),
	} {
		if f := FactOf(x); f.Ints != nil || f.Const != x {
			t.Errorf("fact of %v has contents %v", x, f.Ints)
		}
	}
}
