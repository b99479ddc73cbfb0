// Command typed writes the assembly of package kernel's loops over elements of any number type: go generate in its
// folder. They give what the plain loops in typed.go give, to the bit.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// block is the elements of a turn of each loop: one vector of bytes, or as many vectors of wider elements as these
// have bytes.
const block = 32

// A kind is a type of elements.
type kind struct {
	name     string
	size     int // in bytes
	unsigned bool
	float    bool
}

var kinds = []kind{
	{"Int8", 1, false, false}, {"Int16", 2, false, false}, {"Int32", 4, false, false}, {"Int64", 8, false, false},
	{"Uint8", 1, true, false}, {"Uint16", 2, true, false}, {"Uint32", 4, true, false},
	{"Float32", 4, false, true}, {"Float64", 8, false, true},
}

func main() {
	ConstraintExpr("!noasm")
	constants()
	arithmetic()
	for _, k := range kinds {
		k.extremes()
		k.comparisons()
	}
	for _, size := range []int{1, 2, 4, 8} {
		choose(size)
	}
	conversions()
	Generate()
}

// constants writes ones, byte by byte, the order of double words that undoes two packings, and what no number
// converts to int32 as.
func constants() {
	constant("ones", 0x01010101)
	constant("unpacked", 0, 4, 1, 5, 2, 6, 3, 7)
	constant("least", 1<<31)
}

func symbol(name string) Mem { return NewDataAddr(NewStaticSymbol(name), 0) }

// constant writes eight double words.
func constant(name string, words ...uint32) {
	GLOBL(name, RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(words[i%len(words)]))
	}
}

// loop writes a function over n elements, a positive multiple of block, of each of the pointers, of which turn does a
// block. It gets the address of the elements of a pointer from the so-manieth of the block on.
func loop(name, pointers, result, doc string, sizes []int, turn func(at func(pointer, element int) Mem)) {
	TEXT(name, NOSPLIT, "func(n int, "+pointers+" *byte)"+result)
	Doc(name + " is " + doc + ", for n a positive multiple of 32, with AVX2.")
	Pragma("noescape")
	n, i := Load(Param("n"), GP64()), GP64()
	var p []Register
	for k := range sizes {
		p = append(p, Load(Param(pointers[3*k:3*k+1]), GP64()))
	}
	XORQ(i, i)
	Label("loop")
	turn(func(pointer, element int) Mem {
		return Mem{Base: p[pointer], Index: i, Scale: uint8(sizes[pointer]), Disp: sizes[pointer] * element}
	})
	ADDQ(U8(block), i)
	CMPQ(i, n)
	JLT(LabelRef("loop"))
	if result != "" {
		Label("out")
		Store(i, ReturnIndex(0))
	}
	VZEROUPPER()
	RET()
}

// load is a vector from memory.
func load(m Mem) VecVirtual {
	r := YMM()
	VMOVDQU(m, r)
	return r
}

// of is a new register with op(x, y), y being the one that may lie in memory.
func of(op func(y, x, r Op), x, y Op) VecVirtual {
	r := YMM()
	op(y, x, r)
	return r
}

// fixed gives instructions of any number of operands three.
func fixed(op func(...Op)) func(y, x, r Op) { return func(y, x, r Op) { op(y, x, r) } }

// zip writes a function z = op(x, y) on elements of one size.
func zip(name, doc string, size int, op func(x, y VecVirtual) VecVirtual) {
	loop(name, "z, x, y", "", doc, []int{size, size, size}, func(at func(int, int) Mem) {
		for k := range size {
			element := k * 32 / size
			VMOVDQU(op(load(at(1, element)), load(at(2, element))), at(0, element))
		}
	})
}

// arithmetic is the same for either sign.
func arithmetic() {
	for _, o := range []struct {
		name, sign string
		size       int
		op         func(y, x, r Op)
	}{
		{"plus", "+", 1, fixed(VPADDB)}, {"plus", "+", 2, fixed(VPADDW)}, {"plus", "+", 4, fixed(VPADDD)}, {"plus", "+", 8, fixed(VPADDQ)},
		{"minus", "-", 1, fixed(VPSUBB)}, {"minus", "-", 2, fixed(VPSUBW)}, {"minus", "-", 4, fixed(VPSUBD)}, {"minus", "-", 8, fixed(VPSUBQ)},
		{"times", "·", 2, fixed(VPMULLW)}, {"times", "·", 4, fixed(VPMULLD)}, {"times", "·", 8, times64},
		{"and", "&", 1, VPAND}, {"or", "|", 1, VPOR}, {"xor", "^", 1, VPXOR},
	} {
		zip(fmt.Sprintf("%s%dAVX2", o.name, 8*o.size), fmt.Sprintf("z[i] = x[i] %s y[i] of %d bits", o.sign, 8*o.size), o.size,
			func(x, y VecVirtual) VecVirtual { return of(o.op, x, y) })
	}
}

// times64 makes 64 bits of products of 32.
func times64(y, x, r Op) {
	high, sum := YMM(), YMM()
	VPSRLQ(U8(32), x, high)
	VPMULUDQ(y, high, sum)
	VPSRLQ(U8(32), y, high)
	VPMULUDQ(x, high, high)
	VPADDQ(high, sum, sum)
	VPSLLQ(U8(32), sum, sum)
	VPMULUDQ(y, x, r)
	VPADDQ(sum, r, r)
}

// extreme is the smaller or the larger of two integers.
func (k kind) extreme(most bool) func(x, y VecVirtual) VecVirtual {
	table := map[string][2]func(...Op){
		"Int8": {VPMINSB, VPMAXSB}, "Int16": {VPMINSW, VPMAXSW}, "Int32": {VPMINSD, VPMAXSD},
		"Uint8": {VPMINUB, VPMAXUB}, "Uint16": {VPMINUW, VPMAXUW}, "Uint32": {VPMINUD, VPMAXUD},
	}
	which := 0
	if most {
		which = 1
	}
	if op := table[k.name][which]; op != nil {
		return func(x, y VecVirtual) VecVirtual { return of(fixed(op), x, y) }
	}
	return func(x, y VecVirtual) VecVirtual { // Int64
		above, r := of(fixed(VPCMPGTQ), x, y), YMM()
		if most {
			VPBLENDVB(above, x, y, r)
		} else {
			VPBLENDVB(above, y, x, r)
		}
		return r
	}
}

func (k kind) extremes() {
	if k.float {
		return
	}
	zip("min"+k.name+"AVX2", "z[i] = min(x[i], y[i])", k.size, k.extreme(false))
	zip("max"+k.name+"AVX2", "z[i] = max(x[i], y[i])", k.size, k.extreme(true))
}

// A comparison gives ones in the elements where it holds or, if it is inverted, where it does not.
type comparison struct {
	name, sign string
	inverted   bool
	op         func(x, y VecVirtual) VecVirtual
}

func (k kind) list() []comparison {
	if k.float {
		predicate := func(p int) func(x, y VecVirtual) VecVirtual {
			return func(x, y VecVirtual) VecVirtual {
				r := YMM()
				if k.size == 4 {
					VCMPPS(U8(p), y, x, r)
				} else {
					VCMPPD(U8(p), y, x, r)
				}
				return r
			}
		}
		return []comparison{{"equal", "=", false, predicate(0)}, {"unlike", "≠", false, predicate(4)}, {"above", ">", false, predicate(30)}, {"least", "≥", false, predicate(29)}}
	}
	same := func(x, y VecVirtual) VecVirtual {
		return of(fixed(map[int]func(...Op){1: VPCMPEQB, 2: VPCMPEQW, 4: VPCMPEQD, 8: VPCMPEQQ}[k.size]), x, y)
	}
	list := []comparison{{"equal", "=", false, same}, {"unlike", "≠", true, same}}
	if k.unsigned {
		most := k.extreme(true)
		return append(list,
			comparison{"above", ">", true, func(x, y VecVirtual) VecVirtual { return same(most(x, y), y) }},
			comparison{"least", "≥", false, func(x, y VecVirtual) VecVirtual { return same(most(x, y), x) }})
	}
	above := fixed(map[int]func(...Op){1: VPCMPGTB, 2: VPCMPGTW, 4: VPCMPGTD, 8: VPCMPGTQ}[k.size])
	return append(list,
		comparison{"above", ">", false, func(x, y VecVirtual) VecVirtual { return of(above, x, y) }},
		comparison{"least", "≥", true, func(x, y VecVirtual) VecVirtual { return of(above, y, x) }})
}

// comparisons writes z[i] = 1 where the comparison holds, else 0. Equality does not ask for the sign.
func (k kind) comparisons() {
	for c, o := range k.list() {
		if c < 2 && k.unsigned {
			continue
		}
		name := o.name + k.name + "AVX2"
		loop(name, "z, x, y", "", "z[i] = 1 where x[i] "+o.sign+" y[i], else 0", []int{1, k.size, k.size}, func(at func(int, int) Mem) {
			masks := make([]VecVirtual, k.size)
			for i := range masks {
				element := i * 32 / k.size
				masks[i] = o.op(load(at(1, element)), load(at(2, element)))
			}
			m, r := packed(masks), YMM()
			if o.inverted {
				VPANDN(symbol("ones"), m, r)
			} else {
				VPAND(symbol("ones"), m, r)
			}
			VMOVDQU(r, at(0, 0))
		})
	}
}

// low is the lower halves of the eight quad words of two vectors.
func low(a, b VecVirtual) VecVirtual {
	r := YMM()
	VSHUFPS(U8(0x88), b, a, r)
	VPERMQ(U8(0xd8), r, r)
	return r
}

// packed is masks of wider elements as one of bytes.
func packed(m []VecVirtual) VecVirtual {
	if len(m) == 8 {
		m = []VecVirtual{low(m[0], m[1]), low(m[2], m[3]), low(m[4], m[5]), low(m[6], m[7])}
	}
	switch len(m) {
	case 4:
		r := of(fixed(VPACKSSWB), of(fixed(VPACKSSDW), m[0], m[1]), of(fixed(VPACKSSDW), m[2], m[3]))
		order := load(symbol("unpacked"))
		VPERMD(r, order, r)
		return r
	case 2:
		r := of(fixed(VPACKSSWB), m[0], m[1])
		VPERMQ(U8(0xd8), r, r)
		return r
	}
	return m[0]
}

// choose writes z[i] = x[i] where c[i] is not 0, else y[i].
func choose(size int) {
	name := fmt.Sprintf("choose%dAVX2", 8*size)
	widen := map[int]func(...Op){2: VPMOVZXBW, 4: VPMOVZXBD, 8: VPMOVZXBQ}[size]
	same := map[int]func(...Op){1: VPCMPEQB, 2: VPCMPEQW, 4: VPCMPEQD, 8: VPCMPEQQ}[size]
	loop(name, "z, c, x, y", "", "z[i] = x[i] where c[i] ≠ 0, else y[i]", []int{size, 1, size, size}, func(at func(int, int) Mem) {
		zero := YMM()
		VPXOR(zero, zero, zero)
		for k := range size {
			element := k * 32 / size
			var c VecVirtual
			if size == 1 {
				c = load(at(1, 0))
			} else {
				c = YMM()
				widen(at(1, element), c)
			}
			same(zero, c, c)
			r := load(at(2, element))
			VPBLENDVB(c, at(3, element), r, r)
			VMOVDQU(r, at(0, element))
		}
	})
}

// conversions writes those of z[i] = x[i] between types. They return how many elements they did: those before the
// block with one that the instructions do not convert as Go does.
func conversions() {
	convert := func(name, doc string, to, from int, turn func(at func(int, int) Mem)) {
		loop(name+"AVX2", "z, x", " int", doc, []int{to, from}, turn)
	}
	// one converts vectors whose wider side is a whole one.
	one := func(name, doc string, to, from int, op func(m Mem, r VecVirtual)) {
		convert(name, doc, to, from, func(at func(int, int) Mem) {
			for k := range max(to, from) {
				r := YMM()
				op(at(1, k*32/max(to, from)), r)
				VMOVDQU(r, at(0, k*32/max(to, from)))
			}
		})
	}
	one("int32ToInt64", "z[i] = x[i]", 8, 4, func(m Mem, r VecVirtual) { VPMOVSXDQ(m, r) })
	one("uint8ToInt64", "z[i] = x[i]", 8, 1, func(m Mem, r VecVirtual) { VPMOVZXBQ(m, r) })
	one("uint8ToInt32", "z[i] = x[i]", 4, 1, func(m Mem, r VecVirtual) { VPMOVZXBD(m, r) })
	one("int32ToFloat32", "z[i] = x[i], rounded", 4, 4, func(m Mem, r VecVirtual) { VCVTDQ2PS(m, r) })
	one("float32ToFloat64", "z[i] = x[i]", 8, 4, func(m Mem, r VecVirtual) { VCVTPS2PD(m, r) })
	convert("float64ToFloat32", "z[i] = x[i], rounded", 4, 8, func(at func(int, int) Mem) {
		for k := range 8 {
			r := XMM()
			VCVTPD2PSY(at(1, 4*k), r)
			VMOVUPS(r, at(0, 4*k))
		}
	})
	convert("int64ToInt32", "the low bits of x[i]", 4, 8, func(at func(int, int) Mem) {
		for k := range 4 {
			VMOVDQU(low(load(at(1, 8*k)), load(at(1, 8*k+4))), at(0, 8*k))
		}
	})
	// outside jumps out of the loop where some bit is set.
	outside := func(m VecVirtual) {
		VPTEST(m, m)
		JNZ(LabelRef("out"))
	}
	convert("int64ToFloat32", "z[i] = x[i], rounded, of 32 bits", 4, 8, func(at func(int, int) Mem) {
		words, wide := make([]VecVirtual, 4), YMM()
		VPXOR(wide, wide, wide)
		for k := range words {
			a, b, high := load(at(1, 8*k)), load(at(1, 8*k+4)), YMM()
			words[k] = low(a, b)
			VSHUFPS(U8(0xdd), b, a, high)
			VPERMQ(U8(0xd8), high, high)
			sign := YMM()
			VPSRAD(U8(31), words[k], sign)
			VPXOR(sign, high, high)
			VPOR(high, wide, wide)
		}
		outside(wide)
		for k, w := range words {
			VCVTDQ2PS(w, w)
			VMOVDQU(w, at(0, 8*k))
		}
	})
	for _, to := range []int{4, 8} {
		convert(fmt.Sprintf("float32ToInt%d", 8*to), "z[i] = x[i], cut off, of 31 bits and a sign", to, 4, func(at func(int, int) Mem) {
			words, wide := make([]VecVirtual, 4), YMM()
			VPXOR(wide, wide, wide)
			for k := range words {
				words[k] = YMM()
				VCVTTPS2DQ(at(1, 8*k), words[k])
				VPOR(of(fixed(VPCMPEQD), words[k], symbol("least")), wide, wide)
			}
			outside(wide)
			for k, w := range words {
				if to == 4 {
					VMOVDQU(w, at(0, 8*k))
					continue
				}
				half, r := XMM(), YMM()
				VPMOVSXDQ(w.AsX(), r)
				VMOVDQU(r, at(0, 8*k))
				VEXTRACTI128(U8(1), w, half)
				r = YMM()
				VPMOVSXDQ(half, r)
				VMOVDQU(r, at(0, 8*k+4))
			}
		})
	}
}
