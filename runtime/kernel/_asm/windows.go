package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// windows writes the loops of pools.
func (v vectors) windows() {
	for step := 1; step <= 2; step++ {
		v.largest(step)
		v.means(step)
	}
	v.columns()
	v.largestOfRow()
}

// stepName is the name of a function that goes on by so many elements.
func (v vectors) stepName(name string, step int) string {
	return name + map[int]string{1: "", 2: "Second"}[step] + v.isa()
}

// across writes a loop over n elements of a row: body gets how many vectors it is to compute, each of so many
// elements, and a register with the number of elements that the last one has, or nil for all. off are the elements
// before, times 4. What is left of four vectors is computed together: the loops over taps are short, and every end of
// one costs.
func across(n, off Register, lanes int, body func(vectors int, left Register, label string)) {
	const most = 4
	left := GP64()
	MOVQ(n, left)
	XORQ(off, off)
	Label("loop")
	CMPQ(left, U32(most*lanes))
	JLT(LabelRef("rest"))
	body(most, nil, "tap")
	ADDQ(U32(most*lanes*4), off)
	SUBQ(U32(most*lanes), left)
	JMP(LabelRef("loop"))
	Label("rest")
	TESTQ(left, left)
	JZ(LabelRef("end"))
	for u := 1; u <= most; u++ {
		if u < most {
			CMPQ(left, U32(u*lanes))
			JG(LabelRef(fmt.Sprint("more", u)))
		}
		SUBQ(U32((u-1)*lanes), left)
		body(u, left, fmt.Sprint("tap", u))
		if u < most {
			JMP(LabelRef("end"))
			Label(fmt.Sprint("more", u))
		}
	}
	Label("end")
}

// eachTap writes a loop over the taps: body gets the address of the first element, of so many bytes.
func eachTap(label string, x, at, taps Register, size uint8, body func(from Register)) {
	k, from := GP64(), GP64()
	XORQ(k, k)
	Label(label)
	MOVQ(Mem{Base: at, Index: k, Scale: 8}, from)
	LEAQ(Mem{Base: x, Index: from, Scale: size}, from)
	body(from)
	INCQ(k)
	CMPQ(k, taps)
	JLT(LabelRef(label))
}

// keep makes acc the larger of acc and x, lane by lane; x where that is NaN.
func (v vectors) keep(acc, x VecVirtual) {
	const unordered = 3
	VMAXPS(acc, x, acc) // acc where one of the two is NaN
	if v.zmm {
		k := K()
		VCMPPS(U8(unordered), x, x, k)
		VMOVAPS(x, k, acc)
		return
	}
	t := YMM()
	VCMPPS(U8(unordered), x, x, t)
	VBLENDVPS(t, x, acc, acc)
}

// ifNumbers jumps to a label unless a lane of x is NaN.
func (v vectors) ifNumbers(x VecVirtual, label string) {
	const unordered = 3
	if v.zmm {
		k := K()
		VCMPPS(U8(unordered), x, x, k)
		KORTESTW(k, k)
		JZ(LabelRef(label))
		return
	}
	t, bits := YMM(), GP32()
	VCMPPS(U8(unordered), x, x, t)
	VMOVMSKPS(t, bits)
	TESTL(bits, bits)
	JZ(LabelRef(label))
}

// settle puts quarters of a vector that came from two by lanes of 128 bits, the first of them first, in order.
func (v vectors) settle(x VecVirtual) {
	if !v.zmm {
		VPERMPD(U8(0xd8), x, x)
		return
	}
	order := ZMM()
	VMOVUPS(NewDataAddr(NewStaticSymbol("settled"), 0), order)
	VPERMQ(x, order, x)
}

// settled writes the order that settle takes.
func settled() {
	GLOBL("settled", RODATA|NOPTR)
	for i, quarter := range []uint64{0, 2, 4, 6, 1, 3, 5, 7} {
		DATA(8*i, U64(quarter))
	}
}

// largest: see largestGeneric.
func (v vectors) largest(step int) {
	name := v.stepName("largest", step)
	v.function(name, "func(m, n int, y []float32, ys int, x []float32, xs int, at []int)",
		fmt.Sprintf("%s is largestGeneric for a step of %d, with %s.", name, step, v.set))
	y, x := Load(Param("y").Base(), GP64()), Load(Param("x").Base(), GP64())
	ys, xs := v.bytes("ys"), v.bytes("xs")
	n := Load(Param("n"), GP64())
	at, taps := Load(Param("at").Base(), GP64()), Load(Param("at").Len(), GP64())
	off := GP64()
	eachRow([]Register{y, x}, []Register{ys, xs}, func() {
		across(n, off, v.lanes(), func(vectors int, left Register, label string) {
			var m mask
			if left != nil {
				m = v.tail(left)
			}
			// Sums tell whether there is a NaN: to keep it takes longer.
			acc, sums := make([]VecVirtual, vectors), make([]VecVirtual, vectors)
			least := v.all(float32(math.Inf(-1)))
			for u := range acc {
				acc[u], sums[u] = v.copy(least), v.zero()
			}
			tap := func(from Register, u int) VecVirtual {
				mem := Mem{Base: from, Index: off, Scale: uint8(step), Disp: step * u * v.width}
				if step == 1 && u == vectors-1 {
					return v.get(mem, m)
				}
				t := v.get(mem, mask{})
				if step == 1 {
					return t
				}
				mem.Disp += v.width
				VSHUFPS(U8(0x88), mem, t, t)
				return t
			}
			eachTap(label, x, at, taps, 4, func(from Register) {
				for u, a := range acc {
					t := tap(from, u)
					VMAXPS(a, t, a)
					VADDPS(t, sums[u], sums[u])
				}
			})
			for _, s := range sums[1:] {
				VADDPS(s, sums[0], sums[0])
			}
			v.ifNumbers(sums[0], label+"numbers")
			for _, a := range acc {
				VMOVAPS(least, a)
			}
			eachTap(label+"exact", x, at, taps, 4, func(from Register) {
				for u, a := range acc {
					v.keep(a, tap(from, u))
				}
			})
			Label(label + "numbers")
			for u, a := range acc {
				if step == 2 {
					v.settle(a)
				}
				to := Mem{Base: y, Index: off, Scale: 1, Disp: u * v.width}
				if u == vectors-1 {
					v.put(a, to, m)
				} else {
					v.put(a, to, mask{})
				}
			}
		})
	})
}

// lanesMask is the mask of the first lanes of a vector of elements of so many bytes, in its lower half if they are
// float32 that widen to a whole one.
func (v vectors) lanesMask(left Register, size int) mask {
	if v.zmm {
		return v.tail(left)
	}
	at, count, y := GP64(), GP64(), YMM()
	LEAQ(NewDataAddr(NewStaticSymbol("masks"), 64), at)
	MOVQ(left, count)
	SHLQ(U8(map[int]int{4: 2, 8: 3}[size]), count)
	SUBQ(count, at)
	VMOVUPS(Mem{Base: at}, y)
	return mask{y: y}
}

// columns: see columnsGeneric.
func (v vectors) columns() {
	name := "columns" + v.isa()
	v.function(name, "func(m, n int, y []float64, ys int, x []float32, xs int, at []int, scale float64)",
		name+" is columnsGeneric, with "+v.set+".")
	y, x := Load(Param("y").Base(), GP64()), Load(Param("x").Base(), GP64())
	ys, xs := v.bytes("ys"), v.bytes("xs")
	ADDQ(ys, ys)
	n := Load(Param("n"), GP64())
	at, taps := Load(Param("at").Base(), GP64()), Load(Param("at").Len(), GP64())
	scale, err := Param("scale").Resolve()
	if err != nil {
		panic(err)
	}
	factor := v.vec()
	VBROADCASTSD(scale.Addr, factor)
	off := GP64()
	eachRow([]Register{y, x}, []Register{ys, xs}, func() {
		across(n, off, v.width/8, func(vectors int, left Register, label string) {
			var narrow, whole mask
			if left != nil {
				narrow, whole = v.lanesMask(left, 4), v.lanesMask(left, 8)
			}
			acc := make([]VecVirtual, vectors)
			for u := range acc {
				acc[u] = v.zero()
			}
			eachTap(label, x, at, taps, 4, func(from Register) {
				for u, a := range acc {
					t := v.vec()
					mem := Mem{Base: from, Index: off, Scale: 1, Disp: u * v.width / 2}
					switch {
					case u < vectors-1:
						VCVTPS2PD(mem, t)
					case narrow.k != nil:
						VCVTPS2PD_Z(mem, narrow.k, t)
					case narrow.y != nil:
						half := XMM()
						VMASKMOVPS(mem, narrow.y.AsX(), half)
						VCVTPS2PD(half, t)
					default:
						VCVTPS2PD(mem, t)
					}
					VADDPD(t, a, a)
				}
			})
			for u, a := range acc {
				VMULPD(factor, a, a)
				mem := Mem{Base: y, Index: off, Scale: 2, Disp: u * v.width}
				switch {
				case u < vectors-1:
					VMOVUPD(a, mem)
				case whole.k != nil:
					VMOVUPD(a, whole.k, mem)
				case whole.y != nil:
					VMASKMOVPD(a, whole.y, mem)
				default:
					VMOVUPD(a, mem)
				}
			}
		})
	})
}

// means: see meansGeneric.
func (v vectors) means(step int) {
	name := v.stepName("means", step)
	v.function(name, "func(m, n int, y []float32, ys int, x []float64, xs int, at []int, w []float64)",
		fmt.Sprintf("%s is meansGeneric for a step of %d, with %s. It reads x and w in whole vectors.", name, step, v.set))
	y, x, w := Load(Param("y").Base(), GP64()), Load(Param("x").Base(), GP64()), Load(Param("w").Base(), GP64())
	ys, xs := v.bytes("ys"), v.bytes("xs")
	ADDQ(xs, xs)
	n := Load(Param("n"), GP64())
	at, taps := Load(Param("at").Base(), GP64()), Load(Param("at").Len(), GP64())
	off := GP64()
	eachRow([]Register{y, x}, []Register{ys, xs}, func() {
		across(n, off, v.width/8, func(vectors int, left Register, label string) {
			var m mask
			if left != nil {
				m = v.lanesMask(left, 4)
			}
			acc := make([]VecVirtual, vectors)
			for u := range acc {
				acc[u] = v.zero()
			}
			eachTap(label, x, at, taps, 8, func(from Register) {
				for u, a := range acc {
					mem := Mem{Base: from, Index: off, Scale: uint8(2 * step), Disp: step * u * v.width}
					if step == 1 {
						VADDPD(mem, a, a)
						continue
					}
					t := v.vec()
					VMOVUPD(mem, t)
					mem.Disp += v.width
					VUNPCKLPD(mem, t, t)
					VADDPD(t, a, a)
				}
			})
			for u, a := range acc {
				if step == 2 {
					v.settle(a)
				}
				VMULPD(Mem{Base: w, Index: off, Scale: 2, Disp: u * v.width}, a, a)
				mem := Mem{Base: y, Index: off, Scale: 1, Disp: u * v.width / 2}
				if !v.zmm {
					half := XMM()
					VCVTPD2PSY(a, half)
					if m.y != nil && u == vectors-1 {
						VMASKMOVPS(half, m.y.AsX(), mem)
					} else {
						VMOVUPS(half, mem)
					}
					continue
				}
				VCVTPD2PS(a, a.AsY())
				if m.k != nil && u == vectors-1 {
					VMOVUPS(a, m.k, mem)
				} else {
					VEXTRACTF64X4(U8(0), a, mem) // a register above 15 has no name that is half as wide
				}
			}
		})
	})
}

// largestOfRow: see largestOfRowGeneric.
func (v vectors) largestOfRow() {
	name := "largestOfRow" + v.isa()
	v.function(name, "func(m, n int, y []float32, x []float32, xs int)", name+" is largestOfRowGeneric, with "+v.set+".")
	y, x := Load(Param("y").Base(), GP64()), Load(Param("x").Base(), GP64())
	xs := v.bytes("xs")
	n := Load(Param("n"), GP64())
	step := GP64()
	MOVQ(U32(4), step)
	off := GP64()
	eachRow([]Register{y, x}, []Register{step, xs}, func() {
		acc := make([]VecVirtual, 4)
		for u := range acc {
			acc[u] = v.all(float32(math.Inf(-1)))
		}
		across(n, off, v.lanes(), func(vectors int, left Register, _ string) {
			for u := range vectors {
				mem := Mem{Base: x, Index: off, Scale: 1, Disp: u * v.width}
				if left == nil || u < vectors-1 {
					v.keep(acc[u], v.get(mem, mask{}))
					continue
				}
				m := v.tail(left)
				t := v.get(mem, m)
				if v.zmm { // lanes outside of the mask must not count
					s := v.copy(acc[u])
					VMOVAPS(t, m.k, s)
					t = s
				} else {
					t = v.where(m.y, t, acc[u])
				}
				v.keep(acc[u], t)
			}
		})
		for _, pair := range [][2]int{{0, 1}, {2, 3}, {0, 2}} {
			v.keep(acc[pair[0]], acc[pair[1]])
		}
		best, t := acc[0], v.vec()
		if v.zmm {
			for _, imm := range []int{0x4e, 0xb1} {
				VSHUFF64X2(U8(imm), best, best, t)
				v.keep(best, t)
			}
		} else {
			VPERM2F128(U8(0x01), best, best, t)
			v.keep(best, t)
		}
		for _, imm := range []int{0x4e, 0xb1} {
			VPERMILPS(U8(imm), best, t)
			v.keep(best, t)
		}
		VMOVSS(best.AsX(), Mem{Base: y})
	})
}
