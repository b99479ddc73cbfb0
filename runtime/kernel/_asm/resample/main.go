// Command resample writes the assembly of package kernel's sums and copies of rows: go generate in its folder. None
// of them fuses a multiplication with an addition: their bits are those of the plain loops.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("!noasm")
	combine("AVX2", "AVX2", 32, func() VecVirtual { return YMM() })
	combine("AVX512", "AVX-512F", 64, func() VecVirtual { return ZMM() })
	sample()
	pick("AVX2", "AVX2", 8, func() VecVirtual { return YMM() })
	pick("AVX512", "AVX-512F", 16, func() VecVirtual { return ZMM() })
	copyRows()
	Generate()
}

// combine: see combineGeneric.
func combine(name, set string, width int, reg func() VecVirtual) {
	TEXT("combine"+name, NOSPLIT, "func(n int, y, x []float32, at []int, w []float32)")
	Doc(fmt.Sprintf("combine%s is combineGeneric, for n a multiple of 16, with %s.", name, set))
	Pragma("noescape")
	n, y, x := Load(Param("n"), GP64()), Load(Param("y").Base(), GP64()), Load(Param("x").Base(), GP64())
	at, taps, w := Load(Param("at").Base(), GP64()), Load(Param("at").Len(), GP64()), Load(Param("w").Base(), GP64())
	i, left, k, from := GP64(), GP64(), GP64(), GP64()
	SHLQ(U8(2), n)
	XORQ(i, i)
	for _, vectors := range []int{4, 1} { // at a time
		label := func(s string) string { return fmt.Sprint(s, vectors) }
		Label(label("loop"))
		MOVQ(n, left)
		SUBQ(i, left)
		CMPQ(left, U32(vectors*width))
		JLT(LabelRef(label("done")))
		acc, weight, product := make([]VecVirtual, vectors), reg(), reg()
		for u := range acc {
			acc[u] = reg()
			VXORPS(acc[u].AsX(), acc[u].AsX(), acc[u].AsX())
		}
		XORQ(k, k)
		Label(label("tap"))
		CMPQ(k, taps)
		JGE(LabelRef(label("store")))
		MOVQ(Mem{Base: at, Index: k, Scale: 8}, from)
		LEAQ(Mem{Base: x, Index: from, Scale: 4}, from)
		VBROADCASTSS(Mem{Base: w, Index: k, Scale: 4}, weight)
		for u, a := range acc {
			VMULPS(Mem{Base: from, Index: i, Scale: 1, Disp: u * width}, weight, product)
			VADDPS(product, a, a)
		}
		INCQ(k)
		JMP(LabelRef(label("tap")))
		Label(label("store"))
		for u, a := range acc {
			VMOVUPS(a, Mem{Base: y, Index: i, Scale: 1, Disp: u * width})
		}
		ADDQ(U32(vectors*width), i)
		JMP(LabelRef(label("loop")))
		Label(label("done"))
	}
	VZEROUPPER()
	RET()
}

// sample: 16 elements at a time, whose taps lie within 32 elements, which are two registers to pick from.
func sample() {
	TEXT("sampleAVX512", NOSPLIT, "func(blocks, taps int, y, x []float32, base []int, pick []int32, w []float32)")
	Doc("sampleAVX512 is Sampling32.Run for blocks of 16 elements, with AVX-512F.")
	Pragma("noescape")
	blocks, taps := Load(Param("blocks"), GP64()), Load(Param("taps"), GP64())
	y, x, base := Load(Param("y").Base(), GP64()), Load(Param("x").Base(), GP64()), Load(Param("base").Base(), GP64())
	pick, w := Load(Param("pick").Base(), GP64()), Load(Param("w").Base(), GP64())
	from, k := GP64(), GP64()
	Label("block")
	low, high, acc := ZMM(), ZMM(), ZMM()
	MOVQ(Mem{Base: base}, from)
	VMOVUPS(Mem{Base: x, Index: from, Scale: 4}, low)
	VMOVUPS(Mem{Base: x, Index: from, Scale: 4, Disp: 64}, high)
	VXORPS(acc.AsX(), acc.AsX(), acc.AsX())
	MOVQ(taps, k)
	Label("tap")
	v, weight, zero, counts := ZMM(), ZMM(), ZMM(), K()
	VXORPS(zero.AsX(), zero.AsX(), zero.AsX())
	VMOVUPS(Mem{Base: pick}, v)
	VPERMI2PS(high, low, v)
	VMOVUPS(Mem{Base: w}, weight)
	VCMPPS(U8(4), zero, weight, counts) // not equal
	VMULPS_Z(weight, v, counts, v)
	VADDPS(v, acc, acc)
	ADDQ(U8(64), pick)
	ADDQ(U8(64), w)
	DECQ(k)
	JNZ(LabelRef("tap"))
	VMOVUPS(acc, Mem{Base: y})
	ADDQ(U8(64), y)
	ADDQ(U8(8), base)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// pick: a vector at a time, whose elements lie within one of the source; the last one ends where the row does. Two
// copies are written together, which are one where there is but one left.
func pick(name, set string, lanes int, reg func() VecVirtual) {
	TEXT("pick"+name, NOSPLIT, "func(n, rows, copies int, y []uint32, ys int, x []uint32, xs int, base []int, pick []int32)")
	Doc(fmt.Sprintf("pick%s is Picking32.Run for rows of n elements, at least %d, and at least one row and copy, with %s.", name, lanes, set))
	Pragma("noescape")
	last, rows := Load(Param("n"), GP64()), Load(Param("rows"), GP64())
	y, ys, x, xs := Load(Param("y").Base(), GP64()), Load(Param("ys"), GP64()), Load(Param("x").Base(), GP64()), Load(Param("xs"), GP64())
	base, pick, left, at, from, second := GP64(), GP64(), GP64(), GP64(), GP64(), GP64()
	v := reg()
	move := VMOVDQU
	if lanes == 16 {
		move = func(m, v Op) { VMOVDQU32(m, v) }
	}
	SUBQ(U8(lanes), last)
	SHLQ(U8(2), ys)
	Label("row")
	Load(Param("copies"), left)
	Label("copies")
	Load(Param("base").Base(), base)
	Load(Param("pick").Base(), pick)
	LEAQ(Mem{Base: y, Index: ys, Scale: 1}, second)
	CMPQ(left, U8(1))
	CMOVQEQ(y, second)
	XORQ(at, at)
	Label("block")
	MOVQ(Mem{Base: base}, from)
	move(Mem{Base: pick}, v)
	VPERMD(Mem{Base: x, Index: from, Scale: 4}, v, v)
	move(v, Mem{Base: y, Index: at, Scale: 4})
	move(v, Mem{Base: second, Index: at, Scale: 4})
	CMPQ(at, last)
	JEQ(LabelRef("whole"))
	ADDQ(U8(8), base)
	ADDQ(U8(4*lanes), pick)
	ADDQ(U8(lanes), at)
	CMPQ(at, last)
	CMOVQGT(last, at)
	JMP(LabelRef("block"))
	Label("whole")
	LEAQ(Mem{Base: second, Index: ys, Scale: 1}, y)
	SUBQ(U8(2), left)
	JGT(LabelRef("copies"))
	LEAQ(Mem{Base: x, Index: xs, Scale: 4}, x)
	DECQ(rows)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}

// copyRows: a vector at a time, the last one ends where the row does.
func copyRows() {
	TEXT("copyRowsAVX", NOSPLIT, "func(rows, n int, dst []byte, ds int, src []byte, ss int)")
	Doc("copyRowsAVX is CopyRows for rows of 32 bytes and more, and at least one, with AVX.")
	Pragma("noescape")
	const width = 32
	rows, last := Load(Param("rows"), GP64()), Load(Param("n"), GP64())
	dst, ds := Load(Param("dst").Base(), GP64()), Load(Param("ds"), GP64())
	src, ss := Load(Param("src").Base(), GP64()), Load(Param("ss"), GP64())
	at, v, tail := GP64(), YMM(), YMM()
	SUBQ(U8(width), last)
	Label("row")
	VMOVDQU(Mem{Base: src, Index: last, Scale: 1}, tail)
	XORQ(at, at)
	CMPQ(at, last)
	JGE(LabelRef("end"))
	Label("loop")
	VMOVDQU(Mem{Base: src, Index: at, Scale: 1}, v)
	VMOVDQU(v, Mem{Base: dst, Index: at, Scale: 1})
	ADDQ(U8(width), at)
	CMPQ(at, last)
	JL(LabelRef("loop"))
	Label("end")
	VMOVDQU(tail, Mem{Base: dst, Index: last, Scale: 1})
	ADDQ(ds, dst)
	ADDQ(ss, src)
	DECQ(rows)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}
