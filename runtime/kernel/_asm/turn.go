package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// turn writes the transposition of a square of one vector's height, in a loop along its rows.
func (v vectors) turn() {
	lanes := v.lanes()
	el := map[int]string{4: "float32", 8: "float64"}[v.size]
	TEXT(fmt.Sprintf("turnF%d", 8*v.size), NOSPLIT, fmt.Sprintf("func(n int, dst []%[1]s, ds int, src []%[1]s, ss int)", el))
	Doc(fmt.Sprintf("turnF%d computes dst[l·ds+j] = src[j·ss+l], l < n, j < %d, with AVX. n is a positive multiple of %[2]d.", 8*v.size, lanes))
	Pragma("noescape")
	n := Load(Param("n"), GP64())
	dst := v.strided("dst", "ds")
	src := v.strided("src", "ss")

	Label("loop")
	r := make([]VecVirtual, lanes)
	for i := range r {
		r[i] = YMM()
		VMOVUPS(src.at(i), r[i])
	}
	for i, o := range v.square(r) {
		VMOVUPS(o, dst.at(i))
	}
	for _, p := range src.base {
		ADDQ(U32(v.width), p)
	}
	for _, p := range dst.base {
		step := GP64()
		MOVQ(dst.stride, step)
		SHLQ(U8(map[int]int{8: 3, 4: 2}[lanes]), step)
		ADDQ(step, p)
	}
	SUBQ(U32(lanes), n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// rows addresses up to eight rows of a matrix from two pointers.
type rows struct {
	base            [2]Register
	stride, stride3 Register
}

func (v vectors) strided(slice, stride string) rows {
	s := rows{base: [2]Register{Load(Param(slice).Base(), GP64()), GP64()}, stride: v.bytes(stride), stride3: GP64()}
	LEAQ(Mem{Base: s.stride, Index: s.stride, Scale: 2}, s.stride3)
	LEAQ(Mem{Base: s.base[0], Index: s.stride, Scale: 4}, s.base[1])
	return s
}

func (s rows) at(i int) Mem {
	m := Mem{Base: s.base[i/4], Index: s.stride, Scale: uint8(i % 4)}
	switch i % 4 {
	case 0:
		return Mem{Base: m.Base}
	case 3:
		m.Index, m.Scale = s.stride3, 1
	}
	return m
}

// square transposes r, by pairs, by fours, by halves of a vector.
func (v vectors) square(r []VecVirtual) []VecVirtual {
	op := func(f func(a, b, to Op), a, b Op) VecVirtual {
		to := YMM()
		f(b, a, to)
		return to
	}
	with := func(f func(ops ...Op), ops ...Op) func(a, b, to Op) {
		return func(a, b, to Op) { f(append(ops, a, b, to)...) }
	}
	half := func(imm int) func(a, b, to Op) {
		return func(a, b, to Op) { VPERM2F128(U8(imm), a, b, to) }
	}
	var out []VecVirtual
	if v.size == 8 {
		t := []VecVirtual{
			op(with(VUNPCKLPD), r[0], r[1]), op(with(VUNPCKHPD), r[0], r[1]),
			op(with(VUNPCKLPD), r[2], r[3]), op(with(VUNPCKHPD), r[2], r[3]),
		}
		for _, imm := range []int{0x20, 0x31} {
			out = append(out, op(half(imm), t[0], t[2]), op(half(imm), t[1], t[3]))
		}
		return out
	}
	var u []VecVirtual
	for i := 0; i < 8; i += 4 {
		lo0, hi0 := op(with(VUNPCKLPS), r[i], r[i+1]), op(with(VUNPCKHPS), r[i], r[i+1])
		lo1, hi1 := op(with(VUNPCKLPS), r[i+2], r[i+3]), op(with(VUNPCKHPS), r[i+2], r[i+3])
		for _, pair := range [][2]VecVirtual{{lo0, lo1}, {hi0, hi1}} {
			u = append(u, op(with(VSHUFPS, U8(0x44)), pair[0], pair[1]), op(with(VSHUFPS, U8(0xee)), pair[0], pair[1]))
		}
	}
	for _, imm := range []int{0x20, 0x31} {
		for i := range 4 {
			out = append(out, op(half(imm), u[i], u[i+4]))
		}
	}
	return out
}
