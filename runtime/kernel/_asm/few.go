package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// few writes the function that impl.few in gemm.go describes: B is one stream, from the first term of the
// first panel to the last of the last.
func (v vectors) few() {
	el, name := map[int]string{4: "float32", 8: "float64"}[v.size], "few"+v.name[len("tile"):]
	TEXT(name, NOSPLIT, fmt.Sprintf("func(m, k, most, panels int, a []%[1]s, ars, aks int, b []%[1]s, ahead int, c []%[1]s, ldc int, from []%[1]s, ldf int, relu bool)", el))
	Doc(fmt.Sprintf("%s computes at most %d rows of packed panels of %d columns, with %s.", name, v.mr, 2*v.lanes(), v.set))
	Pragma("noescape")
	s := state{ars: v.bytes("ars"), aks: v.bytes("aks"), ars3: GP64(), c: Load(Param("c").Base(), GP64()), from: AllocLocal(8)}
	b, ahead, panels := Load(Param("b").Base(), GP64()), v.bytes("ahead"), AllocLocal(8)
	LEAQ(Mem{Base: s.ars, Index: s.ars, Scale: 2}, s.ars3)
	t := GP64()
	MOVQ(Load(Param("from").Base(), t), s.from)
	MOVQ(Load(Param("panels"), t), panels)
	Load(Param("m"), t)
	for r := 1; r <= v.mr; r++ {
		CMPQ(t, U32(r))
		JEQ(LabelRef(fmt.Sprintf("rows%d", r)))
	}
	JMP(LabelRef("done"))

	line := 2 * v.width
	whole := columns{halves: 2}
	acc := func(i int) (reg Op, disp int) { return v.reg(i), i % 2 * v.width }
	for rows := 1; rows <= v.mr; rows++ {
		label := fmt.Sprintf("rows%d", rows)
		at := cursor{a: GP64(), a4: GP64(), b: b, n: GP64(), step: U32(line), fetch: func() {
			for h := 0; h < line; h += 64 {
				PREFETCHNTA(Mem{Base: b, Index: ahead, Scale: 1, Disp: h})
			}
		}}
		Label(label)
		left := Load(Param("k"), GP64())
		Load(Param("a").Base(), at.a)
		Label(label + "block")
		Load(Param("most"), at.n)
		CMPQ(left, at.n)
		CMOVQLT(left, at.n)
		SUBQ(at.n, left)
		v.dots(s, rows, label, whole, at)

		// The first block starts from what the caller says, later ones from what is in C.
		p, stride, first := at.n, at.a4, GP64()
		LEAQ(Mem{Base: left}, first)
		ADDQ(param("most"), first)
		MOVQ(s.c, p)
		Load(Param("ldc"), stride)
		CMPQ(first, param("k"))
		JLT(LabelRef(label + "add"))
		Load(Param("ldf"), stride)
		MOVQ(s.from, p)
		TESTQ(p, p)
		JZ(LabelRef(label + "clip"))
		Label(label + "add")
		SHLQ(v.shift(), stride)
		for i := range 2 * rows {
			sum, disp := acc(i)
			v.add(Mem{Base: p, Disp: disp}, sum, sum)
			if i%2 == 1 {
				ADDQ(stride, p)
			}
		}
		Label(label + "clip")
		TESTQ(left, left)
		JNZ(LabelRef(label + "store"))
		relu := Load(Param("relu"), GP8())
		TESTB(relu, relu)
		JZ(LabelRef(label + "store"))
		zero := v.reg(2 * v.mr)
		VXORPS(zero.AsX(), zero.AsX(), zero.AsX())
		for i := range 2 * rows {
			sum, _ := acc(i)
			v.most(sum, zero, sum) // NaN stays
		}
		Label(label + "store")
		MOVQ(s.c, p)
		Load(Param("ldc"), stride)
		SHLQ(v.shift(), stride)
		for i := range 2 * rows {
			sum, disp := acc(i)
			VMOVUPS(sum, Mem{Base: p, Disp: disp})
			if i%2 == 1 {
				ADDQ(stride, p)
			}
		}
		TESTQ(left, left)
		JNZ(LabelRef(label + "block"))

		ADDQ(U32(line), s.c)
		Comment("from stays 0")
		MOVQ(s.from, p)
		TESTQ(p, p)
		JZ(LabelRef(label + "next"))
		ADDQ(U32(line), p)
		MOVQ(p, s.from)
		Label(label + "next")
		DECQ(panels)
		JNZ(LabelRef(label))
		JMP(LabelRef("done"))
	}
	Label("done")
	VZEROUPPER()
	RET()
}
