package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// pair writes the function that impl.pair in gemm.go describes: two tiles one after the other, for
// each sample, with nothing of Go in between.
func (v vectors) pair() {
	TEXT("pair"+v.name[len("tile"):], NOSPLIT, "func(samples, panels int, x *float32, ldx, n1, n2 int, b *float32, step, terms int, t *float32, a *float32, m1 int, y *float32, ldy, m2 int, from *float32, ldf int, relu bool)")
	Doc(fmt.Sprintf("pair%s is the two products of a bilinear layer for panels of %d columns, with %s.", v.name[len("tile"):], 2*v.lanes(), v.set))
	Pragma("noescape")
	line := 2 * v.width
	s := state{m: GP64(), a: GP64(), ars: GP64(), ars3: GP64(), b: GP64(), c: GP64(), ldc: GP64(),
		aks: U32(v.size), bks: U32(line), fixed: v.size, ldf: param("m2"), relu: param("relu"), from: GP64()}
	samples, x, y, from := AllocLocal(8), AllocLocal(8), AllocLocal(8), AllocLocal(8)
	left, b, c, inner := AllocLocal(8), AllocLocal(8), AllocLocal(8), AllocLocal(8)
	panels, bq, yq, fromq := AllocLocal(8), AllocLocal(8), AllocLocal(8), AllocLocal(8)
	move := func(from, to Mem) {
		r := GP64()
		MOVQ(from, r)
		MOVQ(r, to)
	}
	move(param("samples"), samples)
	move(param("x"), x)
	move(param("y"), y)
	move(param("from"), from)
	t := GP64()
	MOVQ(param("n1"), t)
	IMULQ(param("terms"), t)
	MOVQ(t, inner)

	Label("sample")
	move(param("panels"), panels)
	move(param("b"), bq)
	move(y, yq)
	move(from, fromq)

	Label("panel")
	move(param("terms"), left)
	move(bq, b)
	move(param("t"), c)

	Label("term")
	MOVQ(param("n1"), s.m)
	MOVQ(x, s.a)
	v.strideOf(param("n2"), s)
	MOVQ(b, s.b)
	MOVQ(c, s.c)
	MOVQ(param("terms"), s.ldc)
	IMUL3Q(U32(line), s.ldc, s.ldc)
	first := s
	first.k = param("n2")
	v.blocks(first, columns{tag: "first", halves: 2, bare: true, done: "firstDone"})
	Label("firstDone")
	ADDQ(U32(line), c)
	t = GP64()
	MOVQ(param("n2"), t)
	IMUL3Q(U32(line), t, t)
	ADDQ(t, b)
	DECQ(left)
	JNZ(LabelRef("term"))

	MOVQ(param("m1"), s.m)
	MOVQ(param("a"), s.a)
	v.strideOf(inner, s)
	MOVQ(param("t"), s.b)
	MOVQ(yq, s.c)
	MOVQ(param("m2"), s.ldc)
	SHLQ(v.shift(), s.ldc)
	MOVQ(fromq, s.from)
	second := s
	second.k = inner
	v.blocks(second, columns{tag: "second", halves: 2, done: "secondDone"})
	Label("secondDone")
	on := func(at Mem, by string) {
		r := GP64()
		MOVQ(param(by), r)
		SHLQ(v.shift(), r)
		ADDQ(r, at)
	}
	DECQ(panels)
	JZ(LabelRef("next"))
	on(bq, "step")
	ADDQ(U32(line), yq)
	Comment("from stays 0")
	CMPQ(fromq, U32(0))
	JEQ(LabelRef("panel"))
	ADDQ(U32(line), fromq)
	JMP(LabelRef("panel"))
	Label("next")
	on(x, "ldx")
	on(y, "ldy")
	on(from, "ldf")
	DECQ(samples)
	JNZ(LabelRef("sample"))
	VZEROUPPER()
	RET()
}

// strideOf sets the strides of A's rows from a number of elements.
func (v vectors) strideOf(elements Mem, s state) {
	MOVQ(elements, s.ars)
	SHLQ(v.shift(), s.ars)
	LEAQ(Mem{Base: s.ars, Index: s.ars, Scale: 2}, s.ars3)
}
