package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// row writes the function that impl.row in gemm.go describes: eight sums, enough to hide the delay
// of an addition, of four panels, so that the order of each sum is that of tile.
func (v vectors) row() {
	el := map[int]string{4: "float32", 8: "float64"}[v.size]
	TEXT("row"+v.name[len("tile"):], NOSPLIT, fmt.Sprintf("func(k int, a []%[1]s, aks int, b []%[1]s, step, bks, ahead int, c, from []%[1]s, relu bool)", el))
	Doc(fmt.Sprintf("row%s computes one row of four panels of %d columns, with %s.", v.name[len("tile"):], 2*v.lanes(), v.set))
	Pragma("noescape")
	n := Load(Param("k"), GP64())
	a, aks := Load(Param("a").Base(), GP64()), v.bytes("aks")
	bks, c := v.bytes("bks"), Load(Param("c").Base(), GP64())
	panels := v.strided("b", "step")
	next := panels
	next.base[0] = v.bytes("ahead")
	ADDQ(panels.base[0], next.base[0])
	x := v.reg(8)
	for i := range 8 {
		VXORPS(v.reg(i).AsX(), v.reg(i).AsX(), v.reg(i).AsX())
	}

	Label("loop")
	v.broadcast(Mem{Base: a}, x)
	for i := range 8 {
		from := panels.at(i / 2)
		from.Disp = i % 2 * v.width
		v.fma(from, x, v.reg(i))
	}
	for off := 0; off < 8*v.width; off += 64 {
		at := next.at(off / (2 * v.width))
		at.Disp = off % (2 * v.width)
		PREFETCHNTA(at)
	}
	ADDQ(bks, next.base[0])
	ADDQ(bks, panels.base[0])
	ADDQ(aks, a)
	DECQ(n)
	JNZ(LabelRef("loop"))

	from := Load(Param("from").Base(), GP64())
	TESTQ(from, from)
	JZ(LabelRef("clip"))
	for i := range 8 {
		v.add(Mem{Base: from, Disp: i * v.width}, v.reg(i), v.reg(i))
	}
	Label("clip")
	relu := Load(Param("relu"), GP8())
	TESTB(relu, relu)
	JZ(LabelRef("store"))
	VXORPS(x.AsX(), x.AsX(), x.AsX())
	for i := range 8 {
		v.most(v.reg(i), x, v.reg(i)) // NaN stays
	}
	Label("store")
	for i := range 8 {
		VMOVUPS(v.reg(i), Mem{Base: c, Disp: i * v.width})
	}
	VZEROUPPER()
	RET()
}

// bytes loads a stride and turns elements into bytes.
func (v vectors) bytes(name string) Register {
	r := Load(Param(name), GP64())
	SHLQ(v.shift(), r)
	return r
}
