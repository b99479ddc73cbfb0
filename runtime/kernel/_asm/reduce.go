package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// wide is sums in float64 of sixteen lanes: element j of a row goes to lane j mod 16, with AVX2 as
// with AVX-512, and the lanes are added up in the same order.
type wide struct {
	v    vectors
	lane []VecVirtual
}

func (v vectors) wideZero() wide {
	w := wide{v: v}
	for range 128 / v.width {
		w.lane = append(w.lane, v.zero())
	}
	return w
}

// widen is one half of x in float64.
func (v vectors) widen(x VecVirtual, half int) VecVirtual {
	r := v.vec()
	if v.zmm {
		if half == 1 {
			x = v.binary(func(ops ...Op) { VSHUFF64X2(U8(0xee), ops[0], ops[1], ops[2]) }, x, x)
		}
		// The upper half of x must not be named by a register of its own: those above 15 need AVX-512VL.
		VCVTPS2PD(x.AsY(), r)
		return r
	}
	h := XMM()
	VEXTRACTF128(U8(half), x, h)
	VCVTPS2PD(h, r)
	return r
}

// add adds the lanes of the vector that is the part-th of sixteen elements.
func (w wide) add(x VecVirtual, part int) {
	for half := range 2 {
		to := w.lane[2*part+half]
		VADDPD(w.v.widen(x, half), to, to)
	}
}

// addSquare adds x².
func (w wide) addSquare(x VecVirtual, part int) {
	for half := range 2 {
		y := w.v.widen(x, half)
		VFMADD231PD(y, y, w.lane[2*part+half])
	}
}

// total is the sum of all lanes, in the lowest one.
func (w wide) total() VecVirtual { return w.totalBy(func(ops ...Op) { VADDPD(ops...) }) }

// totalBy is total for another operation than an addition.
func (w wide) totalBy(op func(...Op)) VecVirtual {
	if w.v.zmm {
		s := w.lane[0]
		op(w.lane[1], s, s)
		for _, imm := range []int{0xee, 0x55} { // halves, then quarters
			t := ZMM()
			VSHUFF64X2(U8(imm), s, s, t)
			op(t, s, s)
		}
		t := ZMM()
		VPERMILPD(U8(0x55), s, t)
		op(t, s, s)
		return s
	}
	s, t := w.lane[0], w.lane[1]
	op(w.lane[2], s, s)
	op(w.lane[3], t, t)
	op(t, s, s)
	x := YMM()
	VPERM2F128(U8(0x11), s, s, x)
	op(x, s, s)
	VPERMILPD(U8(0x5), s, x)
	op(x, s, s)
	return s
}

// sixteens writes a loop over n elements of rows at the pointers ps, sixteen at a time: body gets the
// addresses of a vector, the mask of its lanes and which part of the sixteen it is.
func (v vectors) sixteens(label string, n Register, ps []Register, body func(at []Mem, m mask, part int)) {
	left, off := GP64(), GP64()
	MOVQ(n, left)
	XORQ(off, off)
	parts := 64 / v.width
	at := func(part int) []Mem {
		a := make([]Mem, len(ps))
		for i, p := range ps {
			a[i] = Mem{Base: p, Index: off, Scale: 1, Disp: part * v.width}
		}
		return a
	}
	CMPQ(left, U32(16))
	JLT(LabelRef(label + "tail"))
	Label(label + "loop")
	for part := range parts {
		body(at(part), mask{}, part)
	}
	ADDQ(U32(64), off)
	SUBQ(U32(16), left)
	CMPQ(left, U32(16))
	JGE(LabelRef(label + "loop"))
	Label(label + "tail")
	for part := range parts {
		if part == 0 {
			TESTQ(left, left)
			JZ(LabelRef(label + "done"))
			if parts > 1 { // a whole first half has a mask of its own, all ones
				some := GP64()
				MOVQ(U32(v.lanes()), some)
				CMPQ(left, some)
				CMOVQLT(left, some)
				body(at(0), v.tail(some), 0)
				continue
			}
		} else {
			SUBQ(U32(v.lanes()), left)
			JLE(LabelRef(label + "done"))
		}
		body(at(part), v.tail(left), part)
	}
	Label(label + "done")
}

// softmax writes the function that softmaxGeneric describes.
func (v vectors) softmax() {
	name := "softmax" + v.isa()
	v.function(name, "func(m, n int, y []float32, ys int, x []float32, xs int)", name+" is softmaxGeneric, with "+v.set+".")
	y, x := Load(Param("y").Base(), GP64()), Load(Param("x").Base(), GP64())
	ys, xs := v.bytes("ys"), v.bytes("xs")
	n := Load(Param("n"), GP64())
	eachRow([]Register{y, x}, []Register{ys, xs}, func() {
		most := v.all(float32(math.Inf(-1)))
		v.along("max", n, []Register{x}, func(at []Mem, m mask) {
			e := v.get(at[0], m)
			switch { // lanes outside of the mask must not count
			case m.k != nil:
				VMAXPS(e, most, m.k, most)
			case m.y != nil:
				VMAXPS(v.where(m.y, e, most), most, most)
			default:
				VMAXPS(e, most, most)
			}
		})
		v.spreadMax(most)
		low := v.all(expLow)
		sum := v.wideZero()
		v.sixteens("exp", n, []Register{y, x}, func(at []Mem, m mask, part int) {
			d := v.sub(v.get(at[1], m), most)
			e := v.only(v.exp(v.max(low, d)), m)
			v.put(e, at[0], m)
			sum.add(e, part)
		})
		total := sum.total()
		one := XMM()
		VMOVSD(konst64(1), one)
		VDIVSD(total.AsX(), one, one)
		VCVTSD2SS(one, one, one)
		inverse := v.vec()
		VBROADCASTSS(one, inverse)
		v.along("scale", n, []Register{y}, func(at []Mem, m mask) {
			v.put(v.mul(v.get(at[0], m), inverse), at[0], m)
		})
	})
}

// spreadMax puts the largest lane of x into all of them.
func (v vectors) spreadMax(x VecVirtual) {
	t := v.vec()
	if v.zmm {
		for _, imm := range []int{0x4e, 0xb1} {
			VSHUFF64X2(U8(imm), x, x, t)
			VMAXPS(t, x, x)
		}
	} else {
		VPERM2F128(U8(0x01), x, x, t)
		VMAXPS(t, x, x)
	}
	for _, imm := range []int{0x4e, 0xb1} {
		VPERMILPS(U8(imm), x, t)
		VMAXPS(t, x, x)
	}
}

// centre stores the mean of the row of n elements at x. It gives n in float64, and the row without its mean.
func (v vectors) centre(n, x, to Register) (count VecVirtual, centred func(at Mem, m mask) VecVirtual) {
	sum := v.wideZero()
	v.sixteens("sum", n, []Register{x}, func(at []Mem, m mask, part int) { sum.add(v.get(at[0], m), part) })
	total := sum.total()
	count = XMM()
	VXORPD(count, count, count)
	VCVTSI2SDQ(n, count, count)
	mean := XMM()
	VDIVSD(count, total.AsX(), mean)
	VMOVSD(mean, Mem{Base: to})
	hi, lo := v.vec(), v.vec() // the mean in two parts: x − hi is exact where it matters
	single, back := XMM(), XMM()
	VCVTSD2SS(mean, mean, single)
	VCVTSS2SD(single, single, back)
	VBROADCASTSS(single, hi)
	VSUBSD(back, mean, mean)
	VCVTSD2SS(mean, mean, mean)
	VBROADCASTSS(mean, lo)
	return count, func(at Mem, m mask) VecVirtual { return v.sub(v.sub(v.get(at, m), hi), lo) }
}

// layerNorm writes the function that layerNormGeneric describes.
func (v vectors) layerNorm() {
	name := "layerNorm" + v.isa()
	v.function(name, "func(m, n int, y []float32, ys int, x []float32, xs int, scale, bias []float32, epsilon float64, stats []float64)",
		name+" is layerNormGeneric, with "+v.set+".")
	y, x := Load(Param("y").Base(), GP64()), Load(Param("x").Base(), GP64())
	ys, xs := v.bytes("ys"), v.bytes("xs")
	n := Load(Param("n"), GP64())
	stats := Load(Param("stats").Base(), GP64())
	step := GP64()
	MOVQ(U32(16), step)
	eachRow([]Register{y, x, stats}, []Register{ys, xs, step}, func() {
		count, centred := v.centre(n, x, stats)
		square := v.wideZero()
		v.sixteens("square", n, []Register{x}, func(at []Mem, m mask, part int) {
			square.addSquare(v.only(centred(at[0], m), m), part)
		})
		variance := XMM()
		VDIVSD(count, square.total().AsX(), variance)
		epsilon, err := Param("epsilon").Resolve()
		if err != nil {
			panic(err)
		}
		VADDSD(epsilon.Addr, variance, variance)
		VSQRTSD(variance, variance, variance)
		one := XMM()
		VMOVSD(konst64(1), one)
		VDIVSD(variance, one, one)
		VMOVSD(one, Mem{Base: stats, Disp: 8})
		VCVTSD2SS(one, one, one)
		inverse := v.vec()
		VBROADCASTSS(one, inverse)

		scale, bias := Load(Param("scale").Base(), GP64()), Load(Param("bias").Base(), GP64())
		TESTQ(bias, bias)
		JZ(LabelRef("unbiased"))
		v.along("biased", n, []Register{y, x, scale, bias}, func(at []Mem, m mask) {
			d := v.mul(centred(at[1], m), inverse)
			VFMADD213PS(v.get(at[3], m), v.get(at[2], m), d)
			v.put(d, at[0], m)
		})
		JMP(LabelRef("next"))
		Label("unbiased")
		v.along("plain", n, []Register{y, x, scale}, func(at []Mem, m mask) {
			v.put(v.mul(v.mul(centred(at[1], m), inverse), v.get(at[2], m)), at[0], m)
		})
		Label("next")
	})
}

// konst64 is a float64 in memory.
func konst64(x float64) Mem {
	name := fmt.Sprintf("d%016x", math.Float64bits(x))
	if !constants64[name] {
		constants64[name] = true
		GLOBL(name, RODATA|NOPTR)
		DATA(0, U64(math.Float64bits(x)))
	}
	return NewDataAddr(NewStaticSymbol(name), 0)
}

var constants64 = map[string]bool{}
