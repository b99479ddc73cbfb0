package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// norms writes the loops of normalisations but for those over the last axis alone.
func (v vectors) norms() {
	v.moments()
	v.affine()
}

// moments: see momentsGeneric.
func (v vectors) moments() {
	name := "moments" + v.isa()
	v.function(name, "func(m, n int, stats []float64, x []float32, xs int)", name+" is momentsGeneric, with "+v.set+".")
	stats, x := Load(Param("stats").Base(), GP64()), Load(Param("x").Base(), GP64())
	xs := v.bytes("xs")
	n := Load(Param("n"), GP64())
	step := GP64()
	MOVQ(U32(16), step)
	eachRow([]Register{stats, x}, []Register{step, xs}, func() {
		_, centred := v.centre(n, x, stats)
		square := v.wideZero()
		v.sixteens("square", n, []Register{x}, func(at []Mem, m mask, part int) {
			square.addSquare(v.only(centred(at[0], m), m), part)
		})
		VMOVSD(square.total().AsX(), Mem{Base: stats, Disp: 8})
	})
}

// affine: see affineGeneric.
func (v vectors) affine() {
	name := "affine" + v.isa()
	v.function(name, "func(m, n int, y []float32, ys int, x []float32, xs int, c []float32)", name+" is affineGeneric, with "+v.set+".")
	y, x, c := Load(Param("y").Base(), GP64()), Load(Param("x").Base(), GP64()), Load(Param("c").Base(), GP64())
	ys, xs := v.bytes("ys"), v.bytes("xs")
	n := Load(Param("n"), GP64())
	step := GP64()
	MOVQ(U32(16), step)
	eachRow([]Register{y, x, c}, []Register{ys, xs, step}, func() {
		var k [4]VecVirtual
		for i := range k {
			k[i] = v.spread(Mem{Base: c, Disp: 4 * i})
		}
		v.along("", n, []Register{y, x}, func(at []Mem, m mask) {
			d := v.sub(v.sub(v.get(at[1], m), k[0]), k[1])
			VFMADD213PS(k[3], k[2], d)
			v.put(d, at[0], m)
		})
	})
}
