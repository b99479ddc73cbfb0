// Command convert writes the assembly of package kernel's conversions between number types: go generate in
// its folder. They round as the plain loops in convert.go do, to the bit.
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

func main() {
	ConstraintExpr("!noasm")
	for _, v := range []vectors{{"AVX2", "AVX2", 32}, {"AVX512", "AVX-512F", 64}} {
		v.halves()
		v.brains()
		v.truncate(false)
		v.truncate(true)
		for _, signed := range []bool{false, true} {
			for _, each := range []bool{false, true} {
				v.dequantize(signed, each)
				v.quantize(signed, each)
				v.requantize(signed, each)
			}
		}
	}
	Generate()
}

func (v vectors) zmm() bool { return v.width == 64 }

// reg is a new vector.
func (v vectors) reg() VecVirtual {
	if v.zmm() {
		return ZMM()
	}
	return YMM()
}

// half is a new vector of half the width.
func (v vectors) half() VecVirtual {
	if v.zmm() {
		return YMM()
	}
	return XMM()
}

// loop writes a function over n elements, a positive multiple of 16, of which body does 16. It gets the address
// of the element of a slice that is so many behind the first of the 16, for elements of so many bytes.
func (v vectors) loop(name, params, doc string, slices []string, body func() func(at func(slice string, size, behind int) Mem)) {
	TEXT(name+v.name, NOSPLIT, "func(n int, "+params+")")
	Doc(fmt.Sprintf("%s%s is %s, for n a positive multiple of 16, with %s.", name, v.name, doc, v.set))
	Pragma("noescape")
	n, i := Load(Param("n"), GP64()), GP64()
	base := map[string]Register{}
	for _, s := range slices {
		base[s] = Load(Param(s).Base(), GP64())
	}
	step := body()
	XORQ(i, i)
	Label("loop")
	step(func(slice string, size, behind int) Mem {
		return Mem{Base: base[slice], Index: i, Scale: uint8(size), Disp: size * behind}
	})
	ADDQ(U8(16), i)
	CMPQ(i, n)
	JLT(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// parts calls f for each vector of 16 elements of four bytes.
func (v vectors) parts(f func(k, behind int)) {
	for k := range 64 / v.width {
		f(k, k*v.width/4)
	}
}

// halves: F16C's instructions, the ones that AVX-512F has of its own.
func (v vectors) halves() {
	v.loop("toHalves", "y []uint16, x []float32", "the narrowing to binary16", []string{"y", "x"}, func() func(func(string, int, int) Mem) {
		return func(at func(string, int, int) Mem) {
			v.parts(func(_, behind int) {
				r := v.reg()
				VMOVUPS(at("x", 4, behind), r)
				VCVTPS2PH(U8(0), r, at("y", 2, behind))
			})
		}
	})
	v.loop("fromHalves", "y []float32, x []uint16", "the widening of binary16", []string{"y", "x"}, func() func(func(string, int, int) Mem) {
		return func(at func(string, int, int) Mem) {
			v.parts(func(_, behind int) {
				r := v.reg()
				VCVTPH2PS(at("x", 2, behind), r)
				VMOVUPS(r, at("y", 4, behind))
			})
		}
	})
}

// word is a number in every lane of a new register.
func (v vectors) word(n uint32) VecVirtual {
	g, x, r := GP32(), XMM(), v.reg()
	MOVL(U32(n), g)
	VMOVD(g, x)
	VPBROADCASTD(x, r)
	return r
}

// brains: no instruction for bfloat16 that every CPU with AVX-512F has; so by integers.
func (v vectors) brains() {
	v.loop("toBrains", "y []uint16, x []float32", "the narrowing to bfloat16", []string{"y", "x"}, func() func(func(string, int, int) Mem) {
		one, below, quiet := v.word(1), v.word(0x7fff), v.word(0x40)
		return func(at func(string, int, int) Mem) {
			rounded := make([]VecVirtual, 64/v.width)
			v.parts(func(k, behind int) {
				x, high, t := v.reg(), v.reg(), v.reg()
				VMOVUPS(at("x", 4, behind), x)
				VPSRLD(U8(16), x, high)
				if v.zmm() {
					VPANDD(one, high, t)
				} else {
					VPAND(one, high, t)
				}
				VPADDD(below, t, t)
				VPADDD(x, t, t)
				VPSRLD(U8(16), t, t)
				if v.zmm() {
					nan := K()
					VCMPPS(U8(3), x, x, nan)
					VPORD(quiet, high, nan, t)
				} else {
					nan := v.reg()
					VCMPPS(U8(3), x, x, nan)
					VPOR(quiet, high, high)
					VPBLENDVB(nan, high, t, t)
				}
				rounded[k] = t
			})
			if v.zmm() {
				VPMOVDW(rounded[0], at("y", 2, 0))
				return
			}
			r := v.reg()
			VPACKUSDW(rounded[1], rounded[0], r)
			VPERMQ(U8(0xd8), r, r)
			VMOVUPS(r, at("y", 2, 0))
		}
	})
	v.loop("fromBrains", "y []float32, x []uint16", "the widening of bfloat16", []string{"y", "x"}, func() func(func(string, int, int) Mem) {
		nothing := v.word(1 << 31) // -0, to which NaN is quiet
		return func(at func(string, int, int) Mem) {
			v.parts(func(_, behind int) {
				r := v.reg()
				VPMOVZXWD(at("x", 2, behind), r)
				VPSLLD(U8(16), r, r)
				VADDPS(nothing, r, r)
				VMOVUPS(r, at("y", 4, behind))
			})
		}
	})
}

// truncate: see truncateGeneric.
func (v vectors) truncate(add bool) {
	name := "truncate"
	if add {
		name = "truncateAdd"
	}
	v.loop(name, "y []int32, x []float32", name+"Generic", []string{"y", "x"}, func() func(func(string, int, int) Mem) {
		return func(at func(string, int, int) Mem) {
			v.parts(func(_, behind int) {
				r := v.reg()
				VCVTTPS2DQ(at("x", 4, behind), r)
				if add {
					VPADDD(at("y", 4, behind), r, r)
				}
				VMOVUPS(r, at("y", 4, behind))
			})
		}
	})
}

// kind is the end of the name of a function on bytes, and what they are.
func kind(signed, each bool) (suffix, bytes string) {
	suffix, bytes = "U8", "uint8"
	if signed {
		suffix, bytes = "I8", "int8"
	}
	if each {
		suffix += "Each"
	}
	return suffix, bytes
}

// factors is where a body finds a slice's factor for a vector: in every lane of a register where there is one for
// all elements.
func (v vectors) factors(slice string, each, double bool) func(at func(string, int, int) Mem, behind int) Op {
	if each {
		size := 4
		if double {
			size = 8
		}
		return func(at func(string, int, int) Mem, behind int) Op { return at(slice, size, behind) }
	}
	r, from := v.reg(), Load(Param(slice).Base(), GP64())
	if double {
		VBROADCASTSD(Mem{Base: from}, r)
	} else {
		VBROADCASTSS(Mem{Base: from}, r)
	}
	return func(func(string, int, int) Mem, int) Op { return r }
}

// dequantize: see dequantizeGeneric.
func (v vectors) dequantize(signed, each bool) {
	suffix, bytes := kind(signed, each)
	v.loop("dequantize"+suffix, "y []float32, x []"+bytes+", scale, zero []float32", "dequantizeGeneric", []string{"y", "x", "scale", "zero"}, func() func(func(string, int, int) Mem) {
		scale, zero := v.factors("scale", each, false), v.factors("zero", each, false)
		return func(at func(string, int, int) Mem) {
			v.parts(func(_, behind int) {
				r := v.reg()
				if signed {
					VPMOVSXBD(at("x", 1, behind), r)
				} else {
					VPMOVZXBD(at("x", 1, behind), r)
				}
				VCVTDQ2PS(r, r)
				VSUBPS(zero(at, behind), r, r)
				VMULPS(scale(at, behind), r, r)
				VMOVUPS(r, at("y", 4, behind))
			})
		}
	})
}

// limits is the least and the largest byte, in every lane.
func (v vectors) limits(signed, double bool) (lo, hi VecVirtual) {
	least, most := 0, 255
	if signed {
		least, most = -128, 127
	}
	lo, hi = v.word(uint32(int32(least))), v.word(uint32(int32(most)))
	if !double {
		VCVTDQ2PS(lo, lo)
		VCVTDQ2PS(hi, hi)
		return lo, hi
	}
	for _, r := range []VecVirtual{lo, hi} {
		if v.zmm() {
			VCVTDQ2PD(r.AsY(), r)
		} else {
			VCVTDQ2PD(r.AsX(), r)
		}
	}
	return lo, hi
}

// store writes 16 bytes that lie in words, within a byte's range.
func (v vectors) store(signed bool, words []VecVirtual, to Mem) {
	if v.zmm() {
		VPMOVDB(words[0], to)
		return
	}
	var x []VecVirtual // of 4 words each
	for _, w := range words {
		high := XMM()
		VEXTRACTI128(U8(1), w, high)
		x = append(x, w.AsX().(VecVirtual), high)
	}
	low, high := XMM(), XMM()
	VPACKSSDW(x[1], x[0], low)
	VPACKSSDW(x[3], x[2], high)
	if signed {
		VPACKSSWB(high, low, low)
	} else {
		VPACKUSWB(high, low, low)
	}
	VMOVUPS(low, to)
}

// quantize: see quantizeGeneric.
func (v vectors) quantize(signed, each bool) {
	suffix, bytes := kind(signed, each)
	v.loop("quantize"+suffix, "y []"+bytes+", x, scale, zero []float32", "quantizeGeneric", []string{"y", "x", "scale", "zero"}, func() func(func(string, int, int) Mem) {
		scale, zero := v.factors("scale", each, false), v.factors("zero", each, false)
		lo, hi := v.limits(signed, false)
		return func(at func(string, int, int) Mem) {
			words := make([]VecVirtual, 64/v.width)
			v.parts(func(k, behind int) {
				r := v.reg()
				VMOVUPS(at("x", 4, behind), r)
				VDIVPS(scale(at, behind), r, r)
				if v.zmm() { // NaN becomes 0
					number := K()
					VCMPPS(U8(7), r, r, number)
					VRNDSCALEPS_Z(U8(8), r, number, r)
				} else {
					number := v.reg()
					VCMPPS(U8(7), r, r, number)
					VROUNDPS(U8(8), r, r)
					VANDPS(number, r, r)
				}
				VADDPS(zero(at, behind), r, r)
				VMAXPS(lo, r, r)
				VMINPS(hi, r, r)
				VCVTPS2DQ(r, r)
				words[k] = r
			})
			v.store(signed, words, at("y", 1, 0))
		}
	})
}

// requantize: see requantizeGeneric.
func (v vectors) requantize(signed, each bool) {
	suffix, bytes := kind(signed, each)
	v.loop("requantize"+suffix, "y []"+bytes+", x []int32, scale []float64, zero float64", "requantizeGeneric", []string{"y", "x", "scale"}, func() func(func(string, int, int) Mem) {
		scale, zero := v.factors("scale", each, true), v.reg()
		a, err := Param("zero").Resolve()
		if err != nil {
			panic(err)
		}
		VBROADCASTSD(a.Addr, zero)
		lo, hi := v.limits(signed, true)
		return func(at func(string, int, int) Mem) {
			lanes := v.width / 8
			part := func(behind int) VecVirtual {
				r, w := v.reg(), v.half()
				VCVTDQ2PD(at("x", 4, behind), r)
				VMULPD(scale(at, behind), r, r)
				if v.zmm() {
					number := K()
					VCMPPD(U8(7), r, r, number)
					VRNDSCALEPD_Z(U8(8), r, number, r)
				} else {
					number := v.reg()
					VCMPPD(U8(7), r, r, number)
					VROUNDPD(U8(8), r, r)
					VANDPD(number, r, r)
				}
				VADDPD(zero, r, r)
				VMAXPD(lo, r, r)
				VMINPD(hi, r, r)
				if v.zmm() {
					VCVTPD2DQ(r, w)
				} else {
					VCVTPD2DQY(r, w)
				}
				return w
			}
			words := make([]VecVirtual, 64/v.width)
			v.parts(func(k, behind int) {
				low, high, r := part(behind), part(behind+lanes), v.reg()
				if v.zmm() {
					VINSERTI64X4(U8(1), high, low.AsZ(), r)
				} else {
					VINSERTI128(U8(1), high, low.AsY(), r)
				}
				words[k] = r
			})
			v.store(signed, words, at("y", 1, 0))
		}
	})
}
