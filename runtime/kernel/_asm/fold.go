package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// powerSeries is eʳ by powers of r, |r| ≤ ½·ln 2, to 5e-11: a minimax fit of (eʳ − 1)/r. See powers in fold.go.
var powerSeries = []float64{1, 1.0000000002094311, 0.5000000077376663, 0.1666666515928424, 0.04166627176599379, 0.008333569370058372, 0.0013945954632509326, 0.00019767598042533079}

// folds writes the functions that foldKernels in fold.go describes.
func (v vectors) folds() {
	for _, kind := range []string{"Sum", "Abs", "Square", "Prod"} {
		v.addRows(kind)
		v.addColumns(kind)
	}
	for _, kind := range []string{"Max", "Min"} {
		v.extremeRows(kind)
		v.extremeColumns(kind)
	}
	v.powerRows()
	v.powerColumns()
	v.narrowing("Quotients", ", by float64", func() func(x VecVirtual) {
		a, err := Param("by").Resolve()
		if err != nil {
			panic(err)
		}
		by := v.spread64(a.Addr)
		return func(x VecVirtual) { VDIVPD(by, x, x) }
	})
	v.narrowing("Roots", "", func() func(x VecVirtual) {
		return func(x VecVirtual) { VSQRTPD(x, x) }
	})
}

// narrowing writes a loop that makes float32 of a function of float64, sixteen at a time.
func (v vectors) narrowing(name, more string, setup func() func(x VecVirtual)) {
	full := "narrow" + name + v.isa()
	v.function(full, "func(n int, y []float32, x []float64"+more+")", fmt.Sprintf("%s is narrow%sGeneric, for n a positive multiple of 16, with %s.", full, name, v.set))
	n := Load(Param("n"), GP64())
	y, x := Load(Param("y").Base(), GP64()), Load(Param("x").Base(), GP64())
	f := setup()
	Label("loop")
	for part := range 64 / v.width {
		var halves [2]VecVirtual
		for half := range halves {
			halves[half] = v.get64(Mem{Base: x, Disp: (2*part + half) * v.width}, mask{})
			f(halves[half])
		}
		v.put(v.narrow64(halves[0], halves[1]), Mem{Base: y, Disp: part * v.width}, mask{})
	}
	ADDQ(U32(64), y)
	ADDQ(U32(128), x)
	SUBQ(U32(16), n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// fold starts a function.
func (v vectors) fold(way, kind, more string) {
	name := "fold" + way + kind + v.isa()
	doc := fmt.Sprintf("%s is fold%sGeneric of Fold%s, with %s.", name, way, kind, v.set)
	if kind == "Exp" {
		doc = fmt.Sprintf("%s is foldExp%sGeneric, with %s.", name, way, v.set)
	}
	v.function(name, "func(m, n int, y []float64, x []float32, xs int"+more+")", doc)
}

// padded is a vector, with another one's lanes outside of the mask.
func (v vectors) padded(from Mem, m mask, pad VecVirtual) VecVirtual {
	switch {
	case m.k != nil:
		r := v.vec()
		VMOVAPS(pad, r)
		VMOVUPS(from, m.k, r)
		return r
	case m.y != nil:
		return v.where(m.y, v.get(from, m), pad)
	}
	return v.get(from, m)
}

// all64 is a float64 in every lane of a new register.
func (v vectors) all64(x float64) VecVirtual { return v.spread64(konst64(x)) }

func (v vectors) spread64(from Mem) VecVirtual {
	r := v.vec()
	VBROADCASTSD(from, r)
	return r
}

// addRows writes a fold of rows that adds or multiplies in float64.
func (v vectors) addRows(kind string) {
	v.fold("Rows", kind, "")
	y, x := Load(Param("y").Base(), GP64()), Load(Param("x").Base(), GP64())
	xs := v.bytes("xs")
	n := Load(Param("n"), GP64())
	step := GP64()
	MOVQ(U32(8), step)
	neutral, start, magnitude := v.zero(), v.zero(), VecVirtual(nil)
	op, last := func(ops ...Op) { VADDPD(ops...) }, VADDSD
	switch kind {
	case "Prod":
		neutral, start = v.all(1), v.all64(1)
		op, last = func(ops ...Op) { VMULPD(ops...) }, VMULSD
	case "Abs":
		magnitude = v.spread(konstBits(1<<31 - 1))
	}
	eachRow([]Register{y, x}, []Register{step, xs}, func() {
		w := wide{v: v}
		for range 128 / v.width {
			w.lane = append(w.lane, v.copy(start))
		}
		v.sixteens("", n, []Register{x}, func(at []Mem, m mask, part int) {
			e := v.get(at[0], m)
			switch kind {
			case "Prod":
				e = v.padded(at[0], m, neutral)
			case "Abs":
				e = v.and(e, magnitude)
			case "Square":
				w.addSquare(e, part)
				return
			}
			for half := range 2 {
				to := w.lane[2*part+half]
				op(v.widen(e, half), to, to)
			}
		})
		total := w.totalBy(op).AsX()
		last(Mem{Base: y}, total, total)
		VMOVSD(total, Mem{Base: y})
	})
}

// halfMasks are the masks of a vector's two halves in float64, from how many of its lanes count.
func (v vectors) halfMasks(n Register, m mask) [2]mask {
	if v.zmm {
		high := K()
		KSHIFTRW(U8(8), m.k, high)
		return [2]mask{{k: m.k}, {k: high}}
	}
	at, count, low, high := GP64(), GP64(), YMM(), YMM()
	LEAQ(NewDataAddr(NewStaticSymbol("masks"), 64), at)
	MOVQ(n, count)
	SHLQ(U8(3), count)
	SUBQ(count, at)
	VMOVUPD(Mem{Base: at}, low)
	VMOVUPD(Mem{Base: at, Disp: 32}, high)
	return [2]mask{{y: low}, {y: high}}
}

// get64 and put64 are get and put in float64.
func (v vectors) get64(from Mem, m mask) VecVirtual {
	r := v.vec()
	switch {
	case m.k != nil:
		VMOVUPD_Z(from, m.k, r)
	case m.y != nil:
		VMASKMOVPD(from, m.y, r)
	default:
		VMOVUPD(from, r)
	}
	return r
}

func (v vectors) put64(x VecVirtual, to Mem, m mask) {
	switch {
	case m.k != nil:
		VMOVUPD(x, m.k, to)
	case m.y != nil:
		VMASKMOVPD(x, m.y, to)
	default:
		VMOVUPD(x, to)
	}
}

// columns are some neighbouring vectors of a fold of columns.
type lane struct {
	m      mask
	halves [2]mask
	off    int // in x, bytes; twice as many in y
}

// downColumns writes a fold of columns: start sets up what is kept of some vectors, each adds those of a row at p,
// done stores. It may hold as many as most vectors in registers.
func (v vectors) downColumns(most int, begin func() func(y Register, lanes []lane) (each func(p Register), done func())) {
	n := Load(Param("n"), GP64())
	y, x := Load(Param("y").Base(), GP64()), Load(Param("x").Base(), GP64())
	xs := v.bytes("xs")
	start := begin()
	rows := func(label string, lanes []lane) {
		each, done := start(y, lanes)
		p, left := GP64(), GP64()
		MOVQ(x, p)
		Load(Param("m"), left)
		Label(label)
		each(p)
		ADDQ(xs, p)
		DECQ(left)
		JNZ(LabelRef(label))
		done()
	}
	for _, count := range []int{most, 1} {
		label := fmt.Sprint("vectors", count)
		lanes := make([]lane, count)
		for i := range lanes {
			lanes[i].off = i * v.width
		}
		Label(label)
		CMPQ(n, U32(count*v.lanes()))
		JLT(LabelRef(label + "done"))
		rows(label+"row", lanes)
		ADDQ(U32(count*v.width), x)
		ADDQ(U32(2*count*v.width), y)
		SUBQ(U32(count*v.lanes()), n)
		JMP(LabelRef(label))
		Label(label + "done")
		if most == 1 {
			break
		}
	}
	TESTQ(n, n)
	JZ(LabelRef("done"))
	m := v.tail(n)
	rows("part", []lane{{m: m, halves: v.halfMasks(n, m)}})
	Label("done")
	VZEROUPPER()
	RET()
}

// addColumns writes a fold of columns that adds or multiplies in float64.
func (v vectors) addColumns(kind string) {
	v.fold("Columns", kind, "")
	v.downColumns(4, func() func(y Register, lanes []lane) (func(Register), func()) {
		var magnitude VecVirtual
		if kind == "Abs" {
			magnitude = v.spread(konstBits(1<<31 - 1))
		}
		return func(y Register, lanes []lane) (func(Register), func()) {
			sums := make([]VecVirtual, 2*len(lanes))
			at := func(i int) Mem { return Mem{Base: y, Disp: i * v.width} }
			for i := range sums {
				sums[i] = v.get64(at(i), lanes[i/2].halves[i%2])
			}
			each := func(p Register) {
				for i, l := range lanes {
					e := v.get(Mem{Base: p, Disp: l.off}, l.m)
					if kind == "Abs" {
						e = v.and(e, magnitude)
					}
					for half := range 2 {
						d, to := v.widen(e, half), sums[2*i+half]
						switch kind {
						case "Square":
							VFMADD231PD(d, d, to)
						case "Prod":
							VMULPD(d, to, to)
						default:
							VADDPD(d, to, to)
						}
					}
				}
			}
			return each, func() {
				for i, s := range sums {
					v.put64(s, at(i), lanes[i/2].halves[i%2])
				}
			}
		}
	})
}

// ordered turns float32 into integers in the same order, and back: -0 comes before 0, NaN at either end. It uses up x.
func (v vectors) ordered(x VecVirtual) VecVirtual {
	t := v.vec()
	VPSRAD(U8(31), x, t)
	if v.zmm {
		VPTERNLOGD_BCST(U8(0x78), konstBits(1<<31-1), t, x) // x ^ (t & mask)
		return x
	}
	VPSRLD(U8(1), t, t)
	VPXOR(t, x, x)
	return x
}

// The ends of what are numbers, ordered: +Inf and -Inf.
const (
	highest = 0x7f800000
	lowest  = 0x807fffff
)

// extremes are the largest and the smallest of ordered numbers.
type extremes struct {
	v         vectors
	high, low VecVirtual
}

// add adds t, or its lanes of the mask.
func (e extremes) add(t VecVirtual, m mask) {
	switch {
	case m.k != nil:
		VPMAXSD(t, e.high, m.k, e.high)
		VPMINSD(t, e.low, m.k, e.low)
	case m.y != nil:
		VPMAXSD(e.v.where(m.y, t, e.high), e.high, e.high)
		VPMINSD(e.v.where(m.y, t, e.low), e.low, e.low)
	default:
		VPMAXSD(t, e.high, e.high)
		VPMINSD(t, e.low, e.low)
	}
}

// extremeRows writes a fold of rows to their extremes.
func (v vectors) extremeRows(kind string) {
	v.fold("Rows", kind, "")
	y, x := Load(Param("y").Base(), GP64()), Load(Param("x").Base(), GP64())
	xs := v.bytes("xs")
	n := Load(Param("n"), GP64())
	step := GP64()
	MOVQ(U32(8), step)
	eachRow([]Register{y, x}, []Register{step, xs}, func() {
		first, start := XMM(), v.vec()
		VXORPS(first, first, first)
		VCVTSD2SS(Mem{Base: y}, first, first)
		VBROADCASTSS(first, start)
		e := extremes{v: v, high: v.ordered(start)}
		e.low = v.copy(e.high)
		v.along("", n, []Register{x}, func(at []Mem, m mask) { e.add(v.ordered(v.get(at[0], m)), m) })
		t := v.vec()
		for _, side := range []struct {
			x  VecVirtual
			op func(...Op)
		}{{e.high, func(ops ...Op) { VPMAXSD(ops...) }}, {e.low, func(ops ...Op) { VPMINSD(ops...) }}} {
			if v.zmm {
				for _, imm := range []int{0x4e, 0xb1} {
					VSHUFF64X2(U8(imm), side.x, side.x, t)
					side.op(t, side.x, side.x)
				}
			} else {
				VPERM2F128(U8(0x01), side.x, side.x, t)
				side.op(t, side.x, side.x)
			}
			for _, imm := range []int{0x4e, 0xb1} {
				VPSHUFD(U8(imm), side.x, t)
				side.op(t, side.x, side.x)
			}
		}
		high, low := GP32(), GP32()
		VMOVD(e.high.AsX(), high)
		VMOVD(e.low.AsX(), low)
		result := high // of NaN the largest is one; unless its sign is set, when the smallest is
		if kind == "Max" {
			CMPL(low, U32(lowest))
			CMOVLLT(low, high)
		} else {
			result = low
			CMPL(high, U32(highest))
			CMOVLGT(high, low)
		}
		s := GP32()
		MOVL(result, s)
		SARL(U8(31), s)
		SHRL(U8(1), s)
		XORL(s, result)
		f := XMM()
		VMOVD(result, f)
		VCVTSS2SD(f, f, f)
		VMOVSD(f, Mem{Base: y})
	})
}

// narrow64 is the sixteen bytes or more of float32 that two vectors of float64 are.
func (v vectors) narrow64(low, high VecVirtual) VecVirtual {
	r := v.vec()
	if v.zmm {
		a, b := YMM(), YMM()
		VCVTPD2PS(low, a)
		VCVTPD2PS(high, b)
		VINSERTF64X4(U8(1), b, a.AsZ(), r)
		return r
	}
	a, b := XMM(), XMM()
	VCVTPD2PSY(low, a)
	VCVTPD2PSY(high, b)
	VINSERTF128(U8(1), b, a.AsY(), r)
	return r
}

// extremeColumns writes a fold of columns to their extremes.
func (v vectors) extremeColumns(kind string) {
	v.fold("Columns", kind, "")
	v.downColumns(4, func() func(y Register, lanes []lane) (func(Register), func()) {
		return func(y Register, lanes []lane) (func(Register), func()) {
			all := make([]extremes, len(lanes))
			at := func(i, half int) Mem { return Mem{Base: y, Disp: (2*i + half) * v.width} }
			for i, l := range lanes {
				all[i] = extremes{v: v, high: v.ordered(v.narrow64(v.get64(at(i, 0), l.halves[0]), v.get64(at(i, 1), l.halves[1])))}
				all[i].low = v.copy(all[i].high)
			}
			each := func(p Register) {
				for i, l := range lanes {
					all[i].add(v.ordered(v.get(Mem{Base: p, Disp: l.off}, l.m)), mask{})
				}
			}
			return each, func() {
				for i, l := range lanes {
					high, low := all[i].high, all[i].low
					r := v.ordered(v.unless(kind, high, low))
					for half := range 2 {
						v.put64(v.widen(r, half), at(i, half), l.halves[half])
					}
				}
			}
		}
	})
}

// unless is the extreme of a kind, or the other one where that is NaN.
func (v vectors) unless(kind string, high, low VecVirtual) VecVirtual {
	result, other, end, x, y := high, low, v.spread(konstBits(lowest)), VecVirtual(nil), VecVirtual(nil)
	x, y = end, low // x > y: NaN
	if kind == "Min" {
		result, other, end = low, high, v.spread(konstBits(highest))
		x, y = high, end
	}
	r := v.vec()
	if v.zmm {
		k := K()
		VPCMPGTD(y, x, k)
		VPBLENDMD(other, result, k, r)
		return r
	}
	VPCMPGTD(y, x, r)
	return v.where(r, other, result)
}

// powerFrom is the least d for which e^d counts.
const powerFrom = -700

// addPower adds eᵈ to a sum, nothing where d < powerFrom.
func (v vectors) addPower(d, sum VecVirtual) {
	t, n, r := v.all64(3<<51), v.vec(), v.copy(d)
	fma := func(x VecVirtual, c float64, to VecVirtual) { // to += x·c
		if v.zmm {
			VFMADD231PD_BCST(konst64(c), x, to)
			return
		}
		VFMADD231PD(v.all64(c), x, to)
	}
	fma(d, math.Log2E, t)
	VSUBPD(v.all64(3<<51), t, n)
	fma(n, -math.Ln2, r)
	p := v.all64(powerSeries[len(powerSeries)-1])
	for i := len(powerSeries) - 2; i >= 0; i-- {
		if v.zmm {
			VFMADD213PD_BCST(konst64(powerSeries[i]), r, p)
			continue
		}
		VFMADD213PD(v.all64(powerSeries[i]), r, p)
	}
	VPSLLQ(U8(52), t, t) // n is in its low bits; p·2ⁿ is a normal number
	VPADDQ(t, p, p)
	if v.zmm {
		k := K()
		VCMPPD(U8(29), v.all64(powerFrom), d, k) // ≥
		VADDPD(p, sum, k, sum)
		return
	}
	counts := v.vec()
	VCMPPD(U8(29), v.all64(powerFrom), d, counts)
	VANDPD(counts, p, p)
	VADDPD(p, sum, sum)
}

// powerRows writes the fold of rows that adds up powers.
func (v vectors) powerRows() {
	v.fold("Rows", "Exp", ", shift []float64")
	y, x, shift := Load(Param("y").Base(), GP64()), Load(Param("x").Base(), GP64()), Load(Param("shift").Base(), GP64())
	xs := v.bytes("xs")
	n := Load(Param("n"), GP64())
	step := GP64()
	MOVQ(U32(8), step)
	nothing := v.all(float32(math.Inf(-1)))
	eachRow([]Register{y, x, shift}, []Register{step, xs, step}, func() {
		by, w := v.spread64(Mem{Base: shift}), v.wideZero()
		v.sixteens("", n, []Register{x}, func(at []Mem, m mask, part int) {
			e := v.padded(at[0], m, nothing)
			for half := range 2 {
				d := v.widen(e, half)
				VSUBPD(by, d, d)
				v.addPower(d, w.lane[2*part+half])
			}
		})
		total := w.total().AsX()
		VADDSD(Mem{Base: y}, total, total)
		VMOVSD(total, Mem{Base: y})
	})
}

// powerColumns writes the fold of columns that adds up powers.
func (v vectors) powerColumns() {
	v.fold("Columns", "Exp", ", shift []float64")
	v.downColumns(1, func() func(y Register, lanes []lane) (func(Register), func()) {
		from := Load(Param("shift").Base(), GP64())
		SUBQ(Load(Param("y").Base(), GP64()), from)
		return func(y Register, lanes []lane) (func(Register), func()) {
			var sums, by [2]VecVirtual
			for half, m := range lanes[0].halves {
				sums[half] = v.get64(Mem{Base: y, Disp: half * v.width}, m)
				by[half] = v.get64(Mem{Base: y, Index: from, Scale: 1, Disp: half * v.width}, m)
			}
			each := func(p Register) {
				e := v.get(Mem{Base: p}, lanes[0].m)
				for half := range 2 {
					d := v.widen(e, half)
					VSUBPD(by[half], d, d)
					v.addPower(d, sums[half])
				}
			}
			return each, func() {
				for half, m := range lanes[0].halves {
					v.put64(sums[half], Mem{Base: y, Disp: half * v.width}, m)
				}
			}
		}
	})
}
