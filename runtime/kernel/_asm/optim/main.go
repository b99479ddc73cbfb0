// Command optim writes the assembly of the loops of training, those of optimisers and of biases: go
// generate in the folder of package kernel. None of them fuses a multiplication with an addition:
// their bits are those of the plain loops.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// vectors is an instruction set.
type vectors struct {
	name, set string
	width     int // of a vector, bytes
}

func (v vectors) reg() VecVirtual {
	if v.width == 64 {
		return ZMM()
	}
	return YMM()
}

func main() {
	ConstraintExpr("!noasm")
	for _, v := range []vectors{{"AVX2", "AVX2", 32}, {"AVX512", "AVX-512F", 64}} {
		v.adam()
		v.sgd()
		v.momentum("momentum", false)
		v.momentum("nesterov", true)
		v.axpy()
		v.blend()
		v.squares()
		v.bias("bias", false)
		v.bias("biasRelu", true)
		v.gate("gate", false, false)
		v.gate("gateAdd", true, false)
		v.gate("gateSum", false, true)
	}
	Generate()
}

// loop writes a function over n elements, a positive multiple of 16, of some slices; all consts are
// broadcast. body is given the offset of a vector.
func (v vectors) loop(name, doc string, slices []string, consts int, body func(at map[string]Mem, c []VecVirtual)) {
	params := ""
	if consts > 0 {
		params = ", c *[10]float32"
	}
	TEXT(name+v.name, NOSPLIT, fmt.Sprintf("func(n int, %s []float32%s)", join(slices), params))
	Doc(fmt.Sprintf("%s%s is %s, for n a positive multiple of 16, with %s.", name, v.name, doc, v.set))
	Pragma("noescape")
	n := Load(Param("n"), GP64())
	base := map[string]Register{}
	for _, s := range slices {
		base[s] = Load(Param(s).Base(), GP64())
	}
	c := make([]VecVirtual, consts)
	if consts > 0 {
		from := Load(Param("c"), GP64())
		for i := range c {
			c[i] = v.reg()
			VBROADCASTSS(Mem{Base: from, Disp: 4 * i}, c[i])
		}
	}
	i := GP64()
	XORQ(i, i)
	SHLQ(U8(2), n)
	Label("loop")
	at := map[string]Mem{}
	for s, b := range base {
		at[s] = Mem{Base: b, Index: i, Scale: 1}
	}
	body(at, c)
	ADDQ(U32(v.width), i)
	CMPQ(i, n)
	JLT(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

func join(names []string) string {
	s := names[0]
	for _, n := range names[1:] {
		s += ", " + n
	}
	return s
}

// adam: see adamGeneric.
func (v vectors) adam() {
	v.loop("adam", "adamGeneric", []string{"w", "dw", "m", "s"}, 10, func(at map[string]Mem, c []VecVirtual) {
		scale, l2, beta1, rest1, beta2, rest2, root, eps, rate, keep := c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8], c[9]
		w, g, t := v.reg(), v.reg(), v.reg()
		VMOVUPS(at["w"], w)
		VMULPS(at["dw"], scale, g)
		VMULPS(w, l2, t)
		VADDPS(t, g, g)

		m := v.reg()
		VMULPS(at["m"], beta1, m)
		VMULPS(g, rest1, t)
		VADDPS(t, m, m)
		VMOVUPS(m, at["m"])

		s := v.reg()
		VMULPS(at["s"], beta2, s)
		VMULPS(g, g, g)
		VMULPS(g, rest2, g)
		VADDPS(g, s, s)
		VMOVUPS(s, at["s"])

		VSQRTPS(s, s)
		VMULPS(s, root, s)
		VADDPS(s, eps, s)
		VMULPS(m, rate, m)
		VDIVPS(s, m, m)
		VMULPS(w, keep, w)
		VSUBPS(m, w, w)
		VMOVUPS(w, at["w"])
	})
}

// sgd: see sgdGeneric.
func (v vectors) sgd() {
	v.loop("sgd", "sgdGeneric", []string{"w", "dw"}, 3, func(at map[string]Mem, c []VecVirtual) {
		w, g := v.gradient(at, c)
		VMULPS(g, c[2], g)
		VSUBPS(g, w, w)
		VMOVUPS(w, at["w"])
	})
}

// gradient is w and c0·dw + c1·w.
func (v vectors) gradient(at map[string]Mem, c []VecVirtual) (w, g VecVirtual) {
	w, g = v.reg(), v.reg()
	t := v.reg()
	VMOVUPS(at["w"], w)
	VMULPS(at["dw"], c[0], g)
	VMULPS(w, c[1], t)
	VADDPS(t, g, g)
	return w, g
}

// momentum: see momentumGeneric and nesterovGeneric.
func (v vectors) momentum(name string, nesterov bool) {
	v.loop(name, name+"Generic", []string{"w", "dw", "m"}, 4, func(at map[string]Mem, c []VecVirtual) {
		w, g := v.gradient(at, c)
		m := v.reg()
		VMULPS(at["m"], c[3], m)
		VADDPS(g, m, m)
		VMOVUPS(m, at["m"])
		if nesterov {
			VMULPS(m, c[3], m)
			VADDPS(g, m, m)
		}
		VMULPS(m, c[2], m)
		VSUBPS(m, w, w)
		VMOVUPS(w, at["w"])
	})
}

// axpy: see axpyGeneric.
func (v vectors) axpy() {
	v.loop("axpy", "axpyGeneric", []string{"y", "x"}, 1, func(at map[string]Mem, c []VecVirtual) {
		t := v.reg()
		VMULPS(at["x"], c[0], t)
		VADDPS(at["y"], t, t)
		VMOVUPS(t, at["y"])
	})
}

// blend: see blendGeneric.
func (v vectors) blend() {
	v.loop("blend", "blendGeneric", []string{"y", "x"}, 1, func(at map[string]Mem, c []VecVirtual) {
		y, t := v.reg(), v.reg()
		VMOVUPS(at["y"], y)
		VMOVUPS(at["x"], t)
		VSUBPS(y, t, t)
		VMULPS(t, c[0], t)
		VADDPS(t, y, y)
		VMOVUPS(y, at["y"])
	})
}

// squares writes sums of squares in float64, in 16 chains.
func (v vectors) squares() {
	TEXT("squares"+v.name, NOSPLIT, "func(n int, x []float32, sums *[16]float64)")
	Doc(fmt.Sprintf("squares%s is squaresGeneric, for n a positive multiple of 16, with %s.", v.name, v.set))
	Pragma("noescape")
	n, x, sums := Load(Param("n"), GP64()), Load(Param("x").Base(), GP64()), Load(Param("sums"), GP64())
	parts := 128 / v.width
	acc := make([]VecVirtual, parts)
	for i := range acc {
		acc[i] = v.reg()
		VMOVUPD(Mem{Base: sums, Disp: i * v.width}, acc[i])
	}
	Label("loop")
	for i := range acc {
		t := v.reg()
		VCVTPS2PD(Mem{Base: x, Disp: i * v.width / 2}, t)
		VMULPD(t, t, t)
		VADDPD(t, acc[i], acc[i])
	}
	ADDQ(U32(64), x)
	SUBQ(U32(16), n)
	JNZ(LabelRef("loop"))
	for i := range acc {
		VMOVUPD(acc[i], Mem{Base: sums, Disp: i * v.width})
	}
	VZEROUPPER()
	RET()
}

// bias: see biasGeneric and biasReluGeneric. max takes its second operand where one is NaN.
func (v vectors) bias(name string, relu bool) {
	v.loop(name, name+"Generic", []string{"y", "x", "b"}, 0, func(at map[string]Mem, _ []VecVirtual) {
		x, zero := v.reg(), v.reg()
		VMOVUPS(at["x"], x)
		VADDPS(at["b"], x, x)
		if relu {
			VXORPS(zero.AsX(), zero.AsX(), zero.AsX())
			VMAXPS(x, zero, x)
		}
		VMOVUPS(x, at["y"])
	})
}

// gate: see gateGeneric, gateAddGeneric and gateSumGeneric.
func (v vectors) gate(name string, add, sum bool) {
	slices := []string{"dx", "dy", "y"}
	if sum {
		slices = append(slices, "db")
	}
	v.loop(name, name+"Generic", slices, 0, func(at map[string]Mem, _ []VecVirtual) {
		const greater = 0x1e // ordered, quiet
		zero, t := v.reg(), v.reg()
		VXORPS(zero.AsX(), zero.AsX(), zero.AsX())
		if v.width == 64 {
			y, k := v.reg(), K()
			VMOVUPS(at["y"], y)
			VCMPPS(U8(greater), zero, y, k)
			VMOVUPS_Z(at["dy"], k, t)
		} else {
			VMOVUPS(at["y"], t)
			VCMPPS(U8(greater), zero, t, t)
			VANDPS(at["dy"], t, t)
		}
		if add {
			VADDPS(at["dx"], t, t)
		}
		VMOVUPS(t, at["dx"])
		if sum {
			VADDPS(at["db"], t, t)
			VMOVUPS(t, at["db"])
		}
	})
}
