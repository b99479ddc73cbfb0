package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// cells writes the functions that the type cellKernels describes. What is computed is, product by product
// and sum by sum, what the functions and operations one after the other give.
func (v vectors) cells() {
	v.cell("lstm", "func(m, n int, g []float32, gs, gap int, c []float32, cs int, h []float32, hs int)", func(p rowPointers) {
		sigmoid, tanh := v.sigmoid(), v.tanh()
		g, c, h, gap := p.at("g"), p.at("c"), p.at("h"), v.bytes("gap")
		p.each([]string{"g", "c", "h"}, func(m mask) {
			gate := func(i int) Mem { // the i-th gate's sums
				if i == 3 {
					at := GP64()
					LEAQ(Mem{Base: g, Index: gap, Scale: 1}, at)
					return Mem{Base: at, Index: gap, Scale: 2}
				}
				return Mem{Base: g, Index: gap, Scale: uint8(max(i, 1))}
			}
			next := v.mul(sigmoid(v.get(Mem{Base: g}, m)), tanh(v.get(gate(3), m)))
			kept := v.mul(sigmoid(v.get(gate(2), m)), v.get(Mem{Base: c}, m))
			sum := v.plus(kept, next)
			v.put(sum, Mem{Base: c}, m)
			v.put(v.mul(sigmoid(v.get(gate(1), m)), tanh(sum)), Mem{Base: h}, m)
		})
	})
	for _, late := range []bool{false, true} {
		name, signature, pointers := "gru", "func(m, n int, g []float32, gs int, u []float32, us int, h []float32, hs int, y []float32, ys int)", []string{"g", "u", "h", "y"}
		if late {
			name, pointers = "gruLate", append(pointers, "late")
			signature = "func(m, n int, g []float32, gs, gap int, u []float32, us int, late []float32, ls int, h []float32, hs int, y []float32, ys int)"
		}
		v.cell(name, signature, func(p rowPointers) {
			sigmoid, tanh := v.sigmoid(), v.tanh()
			one := v.all(1)
			g, u, h, y := p.at("g"), p.at("u"), p.at("h"), p.at("y")
			var gap, from Register
			if late {
				gap, from = v.bytes("gap"), p.at("late")
			}
			p.each(pointers, func(m mask) {
				x := v.get(Mem{Base: u}, m)
				if late {
					x = v.plus(x, v.mul(sigmoid(v.get(Mem{Base: g, Index: gap, Scale: 1}, m)), v.get(Mem{Base: from}, m)))
				}
				next, z := tanh(x), sigmoid(v.get(Mem{Base: g}, m))
				v.put(v.plus(v.mul(v.sub(one, z), next), v.mul(z, v.get(Mem{Base: h}, m))), Mem{Base: y}, m)
			})
		})
	}
	v.cell("gated", "func(m, n int, g []float32, gs int, h []float32, hs int, y []float32, ys int)", func(p rowPointers) {
		sigmoid := v.sigmoid()
		g, h, y := p.at("g"), p.at("h"), p.at("y")
		p.each([]string{"g", "h", "y"}, func(m mask) {
			v.put(v.mul(sigmoid(v.get(Mem{Base: g}, m)), v.get(Mem{Base: h}, m)), Mem{Base: y}, m)
		})
	})
}

func (v vectors) cell(name, signature string, body func(p rowPointers)) {
	full := name + v.isa()
	v.function(full, signature, fmt.Sprintf("%s is cellKernels.%s, with %s.", full, name, v.set))
	body(rowPointers{v: v, ptr: map[string]Register{}})
	VZEROUPPER()
	RET()
}

// rowPointers is the pointers of a function over m rows of n elements, each named like its parameter; its stride, of as many
// elements, is called like the first letter and an s.
type rowPointers struct {
	v   vectors
	ptr map[string]Register
}

func (p rowPointers) at(name string) Register {
	if p.ptr[name] == nil {
		p.ptr[name] = Load(Param(name).Base(), GP64())
	}
	return p.ptr[name]
}

// each writes the loop: body reads and writes a vector at each of the pointers.
func (p rowPointers) each(names []string, body func(m mask)) {
	v := p.v
	m, left := AllocLocal(8), GP64()
	MOVQ(Load(Param("m"), left), m)
	Label("row")
	Load(Param("n"), left)
	CMPQ(left, U32(v.lanes()))
	JLT(LabelRef("tail"))
	Label("loop")
	body(mask{})
	for _, name := range names {
		ADDQ(U32(v.width), p.at(name))
	}
	SUBQ(U32(v.lanes()), left)
	CMPQ(left, U32(v.lanes()))
	JGE(LabelRef("loop"))
	Label("tail")
	TESTQ(left, left)
	JZ(LabelRef("done"))
	body(v.tail(left))
	Label("done")
	Comment("back by what the whole vectors took, on by a row")
	back := GP64()
	MOVQ(left, back)
	SUBQ(param("n"), back)
	SHLQ(v.shift(), back)
	stride := left
	for _, name := range names {
		Load(Param(name[:1]+"s"), stride)
		SHLQ(v.shift(), stride)
		ADDQ(back, stride)
		ADDQ(stride, p.at(name))
	}
	DECQ(m)
	JNZ(LabelRef("row"))
}
