package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// vectors is an instruction set with an element type. A tile is mr rows of two vectors.
type vectors struct {
	name  string // of the Go function
	set   string // in words
	size  int    // of an element, bytes
	width int    // of a vector, bytes
	mr    int
	zmm   bool

	broadcast func(...Op)
	fma       func(...Op)
	add, most func(...Op)
	maskMove  func(_, _, _ Op) // AVX2
}

var (
	avx2f32   = vectors{name: "tileAVX2F32", set: "AVX2 and FMA", size: 4, width: 32, mr: 6, broadcast: VBROADCASTSS, fma: VFMADD231PS, add: VADDPS, most: VMAXPS, maskMove: VMASKMOVPS}
	avx2f64   = vectors{name: "tileAVX2F64", set: "AVX2 and FMA", size: 8, width: 32, mr: 6, broadcast: VBROADCASTSD, fma: VFMADD231PD, add: VADDPD, most: VMAXPD, maskMove: VMASKMOVPD}
	avx512f32 = vectors{name: "tileAVX512F32", set: "AVX-512F", size: 4, width: 64, mr: 8, zmm: true, broadcast: VBROADCASTSS, fma: VFMADD231PS, add: VADDPS, most: VMAXPS}
	avx512f64 = vectors{name: "tileAVX512F64", set: "AVX-512F", size: 8, width: 64, mr: 8, zmm: true, broadcast: VBROADCASTSD, fma: VFMADD231PD, add: VADDPD, most: VMAXPD}
)

// shift turns a number of elements into bytes.
func (v vectors) shift() Op { return U8(map[int]int{4: 2, 8: 3}[v.size]) }

// lanes is the number of elements of a vector.
func (v vectors) lanes() int { return v.width / v.size }

// reg is the i-th vector register.
func (v vectors) reg(i int) VecPhysical {
	if v.zmm {
		return [...]VecPhysical{Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15, Z16, Z17, Z18}[i]
	}
	return [...]VecPhysical{Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, Y9, Y10, Y11, Y12, Y13, Y14, Y15}[i]
}

// state is what all blocks of a tile function share: mostly general registers. Strides are in bytes.
type state struct {
	m, a, ars, ars3, b, c, ldc, mask Register

	aks, bks Op  // registers or constants
	fixed    int // bytes from one term of A to the next if both are constants, else 0

	k, ldf, relu Mem // elements
	from         Op  // where the sums start, 0 for zeros: the rows at hand of it. Memory or a register.

	next Register // what to fetch, if not nil
}

// tile writes the function that impl.tile in gemm.go describes. Blocks of mr rows run down C; the
// last ones are evened out, since a block of few rows waits for its own additions.
func (v vectors) tile() {
	el := map[int]string{4: "float32", 8: "float64"}[v.size]
	TEXT(v.name, NOSPLIT, fmt.Sprintf("func(m, k int, a []%[1]s, ars, aks int, b []%[1]s, bks int, c []%[1]s, ldc, cols int, from []%[1]s, ldf int, relu bool)", el))
	Doc(fmt.Sprintf("%s is tileGeneric for panels of %d columns, with %s.", v.name, 2*v.lanes(), v.set))
	Pragma("noescape")
	s := state{m: Load(Param("m"), GP64()), mask: GP64(), k: param("k"), ldf: param("ldf"), relu: param("relu")}
	s.a, s.ars, s.aks = Load(Param("a").Base(), GP64()), v.bytes("ars"), v.bytes("aks")
	s.b, s.bks = Load(Param("b").Base(), GP64()), v.bytes("bks")
	s.c, s.ldc = Load(Param("c").Base(), GP64()), v.bytes("ldc")
	s.ars3, s.from = GP64(), AllocLocal(8)
	start := Load(Param("from").Base(), GP64())
	MOVQ(start, s.from)
	LEAQ(Mem{Base: s.ars, Index: s.ars, Scale: 2}, s.ars3)

	cols := Load(Param("cols"), RCX)
	CMPQ(cols, U32(2*v.lanes()))
	JNE(LabelRef("masked"))
	v.blocks(s, columns{tag: "full", halves: 2, done: "done"})
	Label("masked")
	if v.zmm {
		MOVQ(U32(1), s.mask)
		SHLQ(CL, s.mask)
		DECQ(s.mask)
		KMOVW(s.mask.(GPVirtual).As32(), K1)
		SHRQ(U8(v.lanes()), s.mask)
		KMOVW(s.mask.(GPVirtual).As32(), K2)
	} else {
		LEAQ(NewDataAddr(NewStaticSymbol("masks"), 64), s.mask)
		SHLQ(v.shift(), cols)
		SUBQ(cols, s.mask)
		SHRQ(v.shift(), cols)
	}
	CMPQ(cols, U32(v.lanes()))
	JLE(LabelRef("half"))
	v.blocks(s, columns{tag: "part", halves: 2, masked: true, done: "done"})
	v.blocks(s, columns{tag: "half", halves: 1, masked: true, done: "done"})
	Label("done")
	VZEROUPPER()
	RET()
}

// stream writes the function that impl.stream in gemm.go describes.
func (v vectors) stream() {
	el, name := map[int]string{4: "float32", 8: "float64"}[v.size], "stream"+v.name[len("tile"):]
	TEXT(name, NOSPLIT, fmt.Sprintf("func(m, k int, a []%[1]s, ars, aks int, b []%[1]s, bks, ahead, pace int, c []%[1]s, ldc int, from []%[1]s, ldf int, relu bool)", el))
	Doc(fmt.Sprintf("%s is the tile of a whole panel of %d columns that fetches ahead, with %s.", name, 2*v.lanes(), v.set))
	Pragma("noescape")
	s := state{m: Load(Param("m"), GP64()), next: GP64(), k: param("k"), ldf: param("ldf"), relu: param("relu")}
	s.a, s.ars, s.aks = Load(Param("a").Base(), GP64()), v.bytes("ars"), v.bytes("aks")
	s.b, s.bks = Load(Param("b").Base(), GP64()), v.bytes("bks")
	s.c, s.ldc = Load(Param("c").Base(), GP64()), v.bytes("ldc")
	s.ars3, s.from = GP64(), AllocLocal(8)
	Load(Param("ahead"), s.next)
	ADDQ(s.b, s.next)
	start := Load(Param("from").Base(), GP64())
	MOVQ(start, s.from)
	LEAQ(Mem{Base: s.ars, Index: s.ars, Scale: 2}, s.ars3)
	v.blocks(s, columns{tag: "full", halves: 2, done: "done"})
	Label("done")
	VZEROUPPER()
	RET()
}

// columns is the part of a panel that a loop covers: both vectors or the first, whole or masked. Sums are
// bare if nothing is added to them nor clipped. done is where to go on.
type columns struct {
	tag    string
	halves int
	masked bool
	bare   bool
	done   string
}

// blocks writes the loop over blocks of rows.
func (v vectors) blocks(s state, part columns) {
	tag := part.tag
	label := func(rows int) string { return fmt.Sprintf("%s%d", tag, rows) }
	rows := GP64()
	Label(tag)
	CMPQ(s.m, U32(2*v.mr))
	JGE(LabelRef(label(v.mr)))
	MOVQ(s.m, rows)
	CMPQ(rows, U32(v.mr))
	JLE(LabelRef(tag + "last"))
	INCQ(rows)
	SHRQ(U8(1), rows)
	Label(tag + "last")
	for r := v.mr; r > 0; r-- {
		CMPQ(rows, U32(r))
		JEQ(LabelRef(label(r)))
	}
	JMP(LabelRef(part.done))
	for r := v.mr; r > 0; r-- {
		Label(label(r))
		v.block(s, r, label(r), part)
		SUBQ(U32(r), s.m)
		JNZ(LabelRef(tag))
		JMP(LabelRef(part.done))
	}
}

// block writes one block of rows: C[rows × cols] = from + A·B. a, c and from move on to the next block.
func (v vectors) block(s state, rows int, label string, part columns) {
	halves := part.halves
	x := v.reg(2*v.mr + 2)
	acc := func(row, half int) VecPhysical { return v.reg(row*halves + half) }
	at := cursor{a: GP64(), a4: GP64(), b: GP64(), n: GP64(), step: s.bks}
	MOVQ(s.k, at.n)
	MOVQ(s.a, at.a)
	MOVQ(s.b, at.b)
	if s.next != nil {
		at.fetch = func() {
			for h := 0; h < halves*v.width; h += 64 {
				PREFETCHNTA(Mem{Base: s.next, Disp: h})
			}
			ADDQ(param("pace"), s.next)
		}
	}
	v.dots(s, rows, label, part, at)
	n, pa := at.n, at.a

	// The way on to the next block, while the last sums end.
	IMUL3Q(U32(rows), s.ars, n)
	ADDQ(n, s.a)
	if !part.bare {
		v.end(s, rows, label, part, n, pa)
	}
	Label(label + "store")
	for i := range rows {
		for h := range halves {
			v.store(acc(i, h), Mem{Base: s.c, Disp: h * v.width}, h, s, part.masked, x)
		}
		ADDQ(s.ldc, s.c)
	}
}

// end writes what happens to the sums of a block: adding from, clipping. n and stride are free to use.
func (v vectors) end(s state, rows int, label string, part columns, n, stride Register) {
	halves := part.halves
	b, x := [2]VecPhysical{v.reg(2 * v.mr), v.reg(2*v.mr + 1)}, v.reg(2*v.mr+2)
	at, kept := s.from.(Register)
	if !kept {
		at = n
		MOVQ(s.from, at)
	}
	TESTQ(at, at)
	JZ(LabelRef(label + "clip"))
	MOVQ(s.ldf, stride)
	SHLQ(v.shift(), stride)
	for i := range rows {
		for h := range halves {
			sum, of := v.reg(i*halves+h), Mem{Base: at, Disp: h * v.width}
			if !part.masked {
				v.add(of, sum, sum)
				continue
			}
			v.load(of, b[h], h, s, part.masked, x)
			v.add(b[h], sum, sum)
		}
		ADDQ(stride, at)
	}
	if !kept {
		MOVQ(at, s.from)
	}
	Label(label + "clip")
	relu := GP8()
	MOVB(s.relu, relu)
	TESTB(relu, relu)
	JZ(LabelRef(label + "store"))
	VXORPS(x.AsX(), x.AsX(), x.AsX())
	for i := range rows * halves {
		v.most(v.reg(i), x, v.reg(i)) // NaN stays
	}
}

// cursor is where a loop over terms begins in A (also four rows further down) and in B, how many terms
// there are, how many bytes it is from one row of B to the next, and what to do with every term.
type cursor struct {
	a, a4, b, n Register
	step        Op
	fetch       func()
}

// dots writes the loop over terms, which starts from zeros and leaves the cursor at its end.
func (v vectors) dots(s state, rows int, label string, part columns, to cursor) {
	for i := range part.halves * rows {
		VXORPS(v.reg(i).AsX(), v.reg(i).AsX(), v.reg(i).AsX())
	}
	if rows > 4 {
		LEAQ(Mem{Base: to.a, Index: s.ars, Scale: 4}, to.a4)
	}
	if !part.masked {
		SUBQ(U32(together), to.n)
		JLT(LabelRef(label + "few"))
		Label(label + "many")
		for i := range together {
			if s.fixed > 0 {
				v.term(s, rows, part, to, i)
				continue
			}
			v.term(s, rows, part, to, 0)
			v.advance(s, rows, to, 1)
		}
		if s.fixed > 0 {
			v.advance(s, rows, to, together)
		}
		SUBQ(U32(together), to.n)
		JGE(LabelRef(label + "many"))
		Label(label + "few")
		ADDQ(U32(together), to.n)
		JZ(LabelRef(label + "end"))
	}
	Label(label + "k")
	v.term(s, rows, part, to, 0)
	v.advance(s, rows, to, 1)
	DECQ(to.n)
	JNZ(LabelRef(label + "k"))
	Label(label + "end")
}

// together is how many terms whole panels take in a turn of the loop: the processor foresees the end of
// 8 turns, not always that of 32, and to be wrong costs as much as a few terms.
const together = 4

// term adds one product to each of the sums, that of so many terms after the cursor's.
func (v vectors) term(s state, rows int, part columns, to cursor, on int) {
	b, x := [2]VecPhysical{v.reg(2 * v.mr), v.reg(2*v.mr + 1)}, v.reg(2*v.mr+2)
	for h := range part.halves {
		v.load(Mem{Base: to.b, Disp: (on*2 + h) * v.width}, b[h], h, s, part.masked, x)
	}
	for i := range rows {
		base := to.a
		if i >= 4 {
			base = to.a4
		}
		at := Mem{Base: base, Disp: on * s.fixed}
		switch i % 4 {
		case 1:
			at.Index, at.Scale = s.ars, 1
		case 2:
			at.Index, at.Scale = s.ars, 2
		case 3:
			at.Index, at.Scale = s.ars3, 1
		}
		v.broadcast(at, x)
		for h := range part.halves {
			v.fma(b[h], x, v.reg(i*part.halves+h))
		}
	}
	if to.fetch != nil {
		to.fetch()
	}
}

// advance moves the cursor on by so many terms: by one, or by several if strides are constants.
func (v vectors) advance(s state, rows int, to cursor, terms int) {
	step, aks := to.step, s.aks
	if terms > 1 {
		step, aks = U32(terms*2*v.width), U32(terms*s.fixed)
	}
	ADDQ(step, to.b)
	ADDQ(aks, to.a)
	if rows > 4 {
		ADDQ(aks, to.a4)
	}
}

// param is where a parameter lies.
func param(name string) Mem {
	at, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return at.Addr
}

// load reads a half of a row of the panel. Elements outside of the mask are not touched.
func (v vectors) load(from Mem, to VecPhysical, half int, s state, masked bool, tmp VecPhysical) {
	switch {
	case !masked:
		VMOVUPS(from, to)
	case v.zmm && v.size == 4:
		VMOVUPS_Z(from, [2]OpmaskPhysical{K1, K2}[half], to)
	case v.zmm:
		VMOVUPD_Z(from, [2]OpmaskPhysical{K1, K2}[half], to)
	default:
		VMOVUPS(Mem{Base: s.mask, Disp: half * v.width}, tmp)
		v.maskMove(from, tmp, to)
	}
}

// store is the way back of load.
func (v vectors) store(from VecPhysical, to Mem, half int, s state, masked bool, tmp VecPhysical) {
	switch {
	case !masked:
		VMOVUPS(from, to)
	case v.zmm && v.size == 4:
		VMOVUPS(from, [2]OpmaskPhysical{K1, K2}[half], to)
	case v.zmm:
		VMOVUPD(from, [2]OpmaskPhysical{K1, K2}[half], to)
	default:
		VMOVUPS(Mem{Base: s.mask, Disp: half * v.width}, tmp)
		v.maskMove(from, tmp, to)
	}
}
