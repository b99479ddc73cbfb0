// Command conv writes the assembly of package kernel's convolutions: go generate in its folder.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("!noasm")
	masks()
	for _, zmm := range []bool{false, true} {
		for _, k := range []int{3, 5} {
			for _, sx := range []int{1, 2} {
				for _, sy := range []int{1, 2} {
					depth{k, sx, sy, zmm}.write()
				}
			}
		}
	}
	halves()
	joined()
	Generate()
}

// masks is what AVX2 takes its masks of columns from: 32 bytes of ones, then zeros.
func masks() {
	GLOBL("convmasks", RODATA|NOPTR)
	for i := range 4 {
		DATA(8*i, U64(1<<64-1))
	}
	for i := range 4 {
		DATA(32+8*i, U64(0))
	}
}

// depth is the kernel of depthwise convolutions with a window of k×k that moves by sx and sy.
type depth struct {
	k, sx, sy int
	zmm       bool
}

// rowsAtOnce is the rows of the output that are computed together: they share what they read.
const rowsAtOnce = 4

func (d depth) lanes() int {
	if d.zmm {
		return 16
	}
	return 8
}

func (d depth) reg(i int) VecPhysical {
	if d.zmm {
		return [...]VecPhysical{Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15, Z16, Z17, Z18, Z19,
			Z20, Z21, Z22, Z23, Z24, Z25, Z26, Z27, Z28, Z29, Z30, Z31}[i]
	}
	return [...]VecPhysical{Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, Y9, Y10, Y11, Y12, Y13, Y14, Y15}[i]
}

// write writes the function that impl of depthGeneric in conv.go is.
func (d depth) write() {
	set, words := "AVX2", "AVX2 and FMA"
	if d.zmm {
		set, words = "AVX512", "AVX-512F"
	}
	name := fmt.Sprintf("depth%dx%d%d%s", d.k, d.sx, d.sy, set)
	TEXT(name, NOSPLIT, "func(rows, cols int, x []float32, xs, phase int, w []float32, y []float32, ys int)")
	Doc(fmt.Sprintf("%s is depthGeneric for windows of %d×%d in steps of %d and %d, with %s.", name, d.k, d.k, d.sx, d.sy, words))
	Pragma("noescape")
	acc := func(i int) VecPhysical { return d.reg(i) }
	x, tmp, bias := d.reg(rowsAtOnce), d.reg(rowsAtOnce+1), d.reg(rowsAtOnce+2)
	weight := func(i int) VecPhysical { return d.reg(rowsAtOnce + 3 + i) } // AVX-512 alone
	px, py, pw := Load(Param("x").Base(), GP64()), Load(Param("y").Base(), GP64()), Load(Param("w").Base(), GP64())
	xs, ys, phase := Load(Param("xs"), GP64()), Load(Param("ys"), GP64()), GP64()
	SHLQ(U8(2), xs)
	SHLQ(U8(2), ys)
	if d.sx == 2 {
		Load(Param("phase"), phase)
		SHLQ(U8(2), phase)
	}
	if d.zmm {
		for i := range d.k * d.k {
			VBROADCASTSS(Mem{Base: pw, Disp: 4 * i}, weight(i))
		}
	}
	VBROADCASTSS(Mem{Base: pw, Disp: 4 * d.k * d.k}, bias)
	rows := Load(Param("rows"), GP64())

	Label("rows")
	n := Load(Param("cols"), RCX)
	at, to := GP64(), GP64()
	MOVQ(px, at)
	MOVQ(py, to)
	Label("cols")
	for i := range rowsAtOnce {
		VMOVAPS(bias, acc(i))
	}
	p, odd := GP64(), GP64()
	MOVQ(at, p)
	if d.sx == 2 {
		LEAQ(Mem{Base: at, Index: phase, Scale: 1}, odd)
	}
	last := (rowsAtOnce-1)*d.sy + d.k - 1
	for r := range last + 1 {
		for tx := range d.k {
			from := Mem{Base: p, Disp: 4 * tx}
			if d.sx == 2 {
				from = Mem{Base: [2]Register{p, odd}[tx%2], Disp: 4 * (tx / 2)}
			}
			VMOVUPS(from, x)
			for i := range rowsAtOnce {
				ty := r - i*d.sy
				if ty < 0 || ty >= d.k {
					continue
				}
				if t := ty*d.k + tx; d.zmm {
					VFMADD231PS(weight(t), x, acc(i))
				} else {
					VBROADCASTSS(Mem{Base: pw, Disp: 4 * t}, tmp)
					VFMADD231PS(tmp, x, acc(i))
				}
			}
		}
		if r < last {
			ADDQ(xs, p)
			if d.sx == 2 {
				ADDQ(xs, odd)
			}
		}
	}
	// Whole vectors, or the last columns.
	CMPQ(n, U32(d.lanes()))
	JL(LabelRef("masked"))
	d.store(acc, to, ys, rows, "whole", func(from VecPhysical, m Mem) { VMOVUPS(from, m) })
	ADDQ(U32(4*d.lanes()), at)
	ADDQ(U32(4*d.lanes()), to)
	SUBQ(U32(d.lanes()), n)
	JNZ(LabelRef("cols"))
	JMP(LabelRef("next"))
	Label("masked")
	if d.zmm {
		mask := GP64()
		MOVQ(U32(1), mask)
		SHLQ(CL, mask)
		DECQ(mask)
		KMOVW(mask.As32(), K1)
		d.store(acc, to, ys, rows, "part", func(from VecPhysical, m Mem) { VMOVUPS(from, K1, m) })
	} else {
		mask := GP64()
		LEAQ(NewDataAddr(NewStaticSymbol("convmasks"), 32), mask)
		SHLQ(U8(2), n)
		SUBQ(n, mask)
		VMOVUPS(Mem{Base: mask}, tmp)
		d.store(acc, to, ys, rows, "part", func(from VecPhysical, m Mem) { VMASKMOVPS(from, tmp, m) })
	}
	Label("next")
	SUBQ(U32(rowsAtOnce), rows)
	JLE(LabelRef("done"))
	step := GP64()
	IMUL3Q(U32(rowsAtOnce*d.sy), xs, step)
	ADDQ(step, px)
	LEAQ(Mem{Base: py, Index: ys, Scale: 4}, py)
	JMP(LabelRef("rows"))
	Label("done")
	VZEROUPPER()
	RET()
}

// store writes the sums of those of the rows at hand that the output has.
func (d depth) store(acc func(int) VecPhysical, to, ys, rows Register, tag string, put func(VecPhysical, Mem)) {
	q := GP64()
	MOVQ(to, q)
	for i := range rowsAtOnce {
		if i > 0 {
			CMPQ(rows, U32(i))
			JLE(LabelRef(tag + "stored"))
			ADDQ(ys, q)
		}
		put(acc(i), Mem{Base: q})
	}
	Label(tag + "stored")
}

// halves writes the function that parts elements at even places from those at odd ones.
func halves() {
	TEXT("halvesF32", NOSPLIT, "func(n int, even, odd, src []float32)")
	Doc("halvesF32 computes even[i] = src[2i] and odd[i] = src[2i+1], i < n, with AVX2. n is a positive multiple of 8.")
	Pragma("noescape")
	n := Load(Param("n"), GP64())
	even, odd, src := Load(Param("even").Base(), GP64()), Load(Param("odd").Base(), GP64()), Load(Param("src").Base(), GP64())
	a, b, e, o := YMM(), YMM(), YMM(), YMM()
	Label("loop")
	VMOVUPS(Mem{Base: src}, a)
	VMOVUPS(Mem{Base: src, Disp: 32}, b)
	VSHUFPS(U8(0x88), b, a, e)
	VSHUFPS(U8(0xdd), b, a, o)
	VPERMPD(U8(0xd8), e, e)
	VPERMPD(U8(0xd8), o, o)
	VMOVUPS(e, Mem{Base: even})
	VMOVUPS(o, Mem{Base: odd})
	ADDQ(U32(64), src)
	ADDQ(U32(32), even)
	ADDQ(U32(32), odd)
	SUBQ(U32(8), n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// joined writes the function that is the way back of halves.
func joined() {
	TEXT("joinedF32", NOSPLIT, "func(n int, dst, even, odd []float32)")
	Doc("joinedF32 computes dst[2i] = even[i] and dst[2i+1] = odd[i], i < n, with AVX. n is a positive multiple of 8.")
	Pragma("noescape")
	n := Load(Param("n"), GP64())
	dst, even, odd := Load(Param("dst").Base(), GP64()), Load(Param("even").Base(), GP64()), Load(Param("odd").Base(), GP64())
	a, b, lo, hi, first, last := YMM(), YMM(), YMM(), YMM(), YMM(), YMM()
	Label("loop")
	VMOVUPS(Mem{Base: even}, a)
	VMOVUPS(Mem{Base: odd}, b)
	VUNPCKLPS(b, a, lo)
	VUNPCKHPS(b, a, hi)
	VPERM2F128(U8(0x20), hi, lo, first)
	VPERM2F128(U8(0x31), hi, lo, last)
	VMOVUPS(first, Mem{Base: dst})
	VMOVUPS(last, Mem{Base: dst, Disp: 32})
	ADDQ(U32(32), even)
	ADDQ(U32(32), odd)
	ADDQ(U32(64), dst)
	SUBQ(U32(8), n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}
