package main

import (
	"fmt"
	"math"
	"strings"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// isa is the part of a Go function's name that says its instruction set.
func (v vectors) isa() string { return strings.TrimSuffix(v.name[len("tile"):], "F32") }

// vec is a new vector register.
func (v vectors) vec() VecVirtual {
	if v.zmm {
		return ZMM()
	}
	return YMM()
}

// constants are the symbols of values that konst has written.
var constants = map[uint32]bool{}

// konst is a float32 in memory, as often as it takes to fill a vector of AVX2.
func konst(x float32) Mem { return konstBits(math.Float32bits(x)) }

func konstBits(bits uint32) Mem {
	name := fmt.Sprintf("f%08x", bits)
	if !constants[bits] {
		constants[bits] = true
		GLOBL(name, RODATA|NOPTR)
		for i := range 8 {
			DATA(4*i, U32(bits))
		}
	}
	return NewDataAddr(NewStaticSymbol(name), 0)
}

// all is a constant in every lane of a new register.
func (v vectors) all(x float32) VecVirtual { return v.spread(konst(x)) }

func (v vectors) spread(m Mem) VecVirtual {
	r := v.vec()
	VBROADCASTSS(m, r)
	return r
}

func (v vectors) copy(x VecVirtual) VecVirtual {
	r := v.vec()
	VMOVAPS(x, r)
	return r
}

// binary is a new register of the result: op(x, y), y being the one that may lie in memory.
func (v vectors) binary(op func(...Op), x, y Op) VecVirtual {
	r := v.vec()
	op(y, x, r)
	return r
}

func (v vectors) mul(x, y Op) VecVirtual  { return v.binary(VMULPS, x, y) }
func (v vectors) plus(x, y Op) VecVirtual { return v.binary(VADDPS, x, y) }
func (v vectors) sub(x, y Op) VecVirtual  { return v.binary(VSUBPS, x, y) }
func (v vectors) div(x, y Op) VecVirtual  { return v.binary(VDIVPS, x, y) }

// min and max give y where one of the two is NaN.
func (v vectors) min(x, y Op) VecVirtual { return v.binary(VMINPS, x, y) }
func (v vectors) max(x, y Op) VecVirtual { return v.binary(VMAXPS, x, y) }

func (v vectors) and(x, y Op) VecVirtual {
	if v.zmm {
		return v.binary(VPANDD, x, y)
	}
	return v.binary(func(ops ...Op) { VPAND(ops[0], ops[1], ops[2]) }, x, y)
}

func (v vectors) or(x, y Op) VecVirtual {
	if v.zmm {
		return v.binary(VPORD, x, y)
	}
	return v.binary(func(ops ...Op) { VPOR(ops[0], ops[1], ops[2]) }, x, y)
}

func (v vectors) xor(x, y Op) VecVirtual {
	if v.zmm {
		return v.binary(VPXORD, x, y)
	}
	return v.binary(func(ops ...Op) { VPXOR(ops[0], ops[1], ops[2]) }, x, y)
}

// minimum is NaN where one of the two is, and -0 where one of two zeros is: of the results for either order, one
// has that.
func (v vectors) minimum(x, y Op) VecVirtual { return v.or(v.min(x, y), v.min(y, x)) }

// maximum is NaN where one of the two is, and 0 where one of two zeros is.
func (v vectors) maximum(x, y Op) VecVirtual {
	a := v.max(x, y)
	unlike := v.xor(a, v.max(y, x)) // -0 at unlike zeros, 0 at numbers
	return v.sub(v.or(a, unlike), unlike)
}

// slope is x where x ≥ 0, else x·y.
func (v vectors) slope(x, y Op) VecVirtual {
	return v.pick(less, x.(VecVirtual), v.zero(), v.mul(x, y), x.(VecVirtual))
}

// zero is a register of zeros.
func (v vectors) zero() VecVirtual {
	r := v.vec()
	if v.zmm {
		VPXORD(r, r, r)
	} else {
		VPXOR(r, r, r)
	}
	return r
}

// mulAdd computes p = p·r + c.
func (v vectors) mulAdd(p, r VecVirtual, c float32) {
	if v.zmm {
		VFMADD213PS_BCST(konst(c), r, p)
	} else {
		VFMADD213PS(konst(c), r, p)
	}
}

// subMul computes p -= r·c.
func (v vectors) subMul(p, r VecVirtual, c float32) {
	if v.zmm {
		VFNMADD231PS_BCST(konst(c), r, p)
	} else {
		VFNMADD231PS(konst(c), r, p)
	}
}

// horner is c[0] + c[1]·r + c[2]·r² + …
func (v vectors) horner(r VecVirtual, c ...float32) VecVirtual {
	p := v.all(c[len(c)-1])
	for i := len(c) - 2; i >= 0; i-- {
		v.mulAdd(p, r, c[i])
	}
	return p
}

// where is yes in the lanes whose sign bit is set in cond, else no.
func (v vectors) where(cond, yes, no VecVirtual) VecVirtual {
	r := v.vec()
	if v.zmm {
		k := K()
		VPTESTMD(v.spread(konstBits(1<<31)), cond, k)
		VBLENDMPS(yes, no, k, r)
	} else {
		VBLENDVPS(cond, yes, no, r)
	}
	return r
}

// pick is yes in the lanes where a and b compare as predicate p of VCMPPS says, else no.
func (v vectors) pick(p int, a, b, yes, no VecVirtual) VecVirtual {
	r := v.vec()
	if v.zmm {
		k := K()
		VCMPPS(U8(p), b, a, k)
		VBLENDMPS(yes, no, k, r)
	} else {
		is := v.vec()
		VCMPPS(U8(p), b, a, is)
		VBLENDVPS(is, yes, no, r)
	}
	return r
}

// Predicates of VCMPPS: false where one of the two is NaN, but for notLess.
const (
	equal   = 0
	less    = 1
	notLess = 5
)

// tail sets the mask of the first n < lanes lanes.
func (v vectors) tail(n Register) mask {
	if v.zmm {
		k, bits := K(), GP64()
		MOVQ(n, RCX)
		MOVQ(U32(1), bits)
		SHLQ(CL, bits)
		DECQ(bits)
		KMOVW(bits.(GPVirtual).As32(), k)
		return mask{k: k}
	}
	at, count, y := GP64(), GP64(), YMM()
	LEAQ(NewDataAddr(NewStaticSymbol("masks"), 64), at)
	MOVQ(n, count)
	SHLQ(U8(2), count)
	SUBQ(count, at)
	VMOVUPS(Mem{Base: at}, y)
	return mask{y: y}
}

// mask is some lanes of a vector; the zero value is all of them.
type mask struct {
	k OpmaskVirtual
	y VecVirtual
}

// get loads a vector, zeros outside of the mask.
func (v vectors) get(from Mem, m mask) VecVirtual {
	r := v.vec()
	switch {
	case m.k != nil:
		VMOVUPS_Z(from, m.k, r)
	case m.y != nil:
		VMASKMOVPS(from, m.y, r)
	default:
		VMOVUPS(from, r)
	}
	return r
}

// put stores the lanes of the mask.
func (v vectors) put(x VecVirtual, to Mem, m mask) {
	switch {
	case m.k != nil:
		VMOVUPS(x, m.k, to)
	case m.y != nil:
		VMASKMOVPS(x, m.y, to)
	default:
		VMOVUPS(x, to)
	}
}

// only is x with zeros outside of the mask.
func (v vectors) only(x VecVirtual, m mask) VecVirtual {
	switch {
	case m.k != nil:
		r := v.vec()
		VMOVAPS_Z(x, m.k, r)
		return r
	case m.y != nil:
		return v.and(x, m.y)
	}
	return x
}

// along writes a loop over n elements of rows at the pointers ps, vector by vector: body gets the
// addresses of the vectors and the mask of their lanes. The pointers are left where they were.
func (v vectors) along(label string, n Register, ps []Register, body func(at []Mem, m mask)) {
	left, off := GP64(), GP64()
	MOVQ(n, left)
	XORQ(off, off)
	at := make([]Mem, len(ps))
	for i, p := range ps {
		at[i] = Mem{Base: p, Index: off, Scale: 1}
	}
	CMPQ(left, U32(v.lanes()))
	JLT(LabelRef(label + "tail"))
	Label(label + "loop")
	body(at, mask{})
	ADDQ(U32(v.width), off)
	SUBQ(U32(v.lanes()), left)
	CMPQ(left, U32(v.lanes()))
	JGE(LabelRef(label + "loop"))
	Label(label + "tail")
	TESTQ(left, left)
	JZ(LabelRef(label + "done"))
	body(at, v.tail(left))
	Label(label + "done")
}

// function starts a function that ends with rows.
func (v vectors) function(name, signature, doc string) {
	TEXT(name, NOSPLIT, signature)
	Doc(doc)
	Pragma("noescape")
}

// eachRow writes a loop over m rows; the pointers move on by their strides after each.
func eachRow(ps, strides []Register, body func()) {
	m := Load(Param("m"), GP64())
	Label("row")
	body()
	for i, p := range ps {
		ADDQ(strides[i], p)
	}
	DECQ(m)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}

// unary writes the function that the type unary describes. body is called once to set up what all
// vectors share, and what it returns for each place where the function computes a vector.
func (v vectors) unary(name string, setup func() func(x VecVirtual) VecVirtual) {
	full := strings.ToLower(name[:1]) + name[1:] + v.isa()
	v.function(full, "func(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)",
		fmt.Sprintf("%s is the unary function %s, with %s.", full, name, v.set))
	y, x := Load(Param("y").Base(), GP64()), Load(Param("x").Base(), GP64())
	ys, xs := v.bytes("ys"), v.bytes("xs")
	n := Load(Param("n"), GP64())
	f := setup()
	eachRow([]Register{y, x}, []Register{ys, xs}, func() {
		v.along("", n, []Register{y, x}, func(at []Mem, m mask) {
			v.put(f(v.get(at[1], m)), at[0], m)
		})
	})
}

// param is a parameter in every lane.
func (v vectors) param(name string) VecVirtual {
	a, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return v.spread(a.Addr)
}

// zips writes the functions that the type zip describes, for one operation: both operands whole rows,
// the right one a single element of each row, and the left one, unless it never is or they may change places.
func (v vectors) zips(name string, op func(x, y Op) VecVirtual, noLeft bool) {
	kinds := []string{"", "Right", "Left"}
	if noLeft {
		kinds = kinds[:2]
	}
	for _, kind := range kinds {
		full := strings.ToLower(name) + kind + v.isa()
		v.function(full, "func(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)",
			fmt.Sprintf("%s is the zip function %s%s, with %s.", full, name, kind, v.set))
		z, x, y := Load(Param("z").Base(), GP64()), Load(Param("x").Base(), GP64()), Load(Param("y").Base(), GP64())
		zs, xs, ys := v.bytes("zs"), v.bytes("xs"), v.bytes("ys")
		n := Load(Param("n"), GP64())
		eachRow([]Register{z, x, y}, []Register{zs, xs, ys}, func() {
			switch kind {
			case "Right":
				one := v.spread(Mem{Base: y})
				v.along("", n, []Register{z, x}, func(at []Mem, m mask) { v.put(op(v.get(at[1], m), one), at[0], m) })
			case "Left":
				one := v.spread(Mem{Base: x})
				v.along("", n, []Register{z, y}, func(at []Mem, m mask) { v.put(op(one, v.get(at[1], m)), at[0], m) })
			default:
				v.along("", n, []Register{z, x, y}, func(at []Mem, m mask) { v.put(op(v.get(at[1], m), v.get(at[2], m)), at[0], m) })
			}
		})
	}
}

// elements writes everything that is not a product, for float32.
func (v vectors) elements() {
	v.zips("Add", v.plus, true)
	v.zips("Mul", v.mul, true)
	v.zips("Sub", v.sub, false)
	v.zips("Div", v.div, false)
	v.zips("Min", v.minimum, true)
	v.zips("Max", v.maximum, true)
	v.zips("Slope", v.slope, true) // its left operand is never an element
	v.functions()
	v.cells()
	v.softmax()
	v.layerNorm()
}
