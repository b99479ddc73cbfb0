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

// state is what lives in general registers all through a tile function. Strides are in bytes.
type state struct {
	m, a, ars, ars3, aks, b, bks, c, ldc, mask Register

	from Mem // where the sums start, 0 for zeros: the rows at hand of it

	next Register // what to fetch, if not nil
}

// tile writes the function that impl.tile in gemm.go describes. Blocks of mr rows run down C; the
// last ones are evened out, since a block of few rows waits for its own additions.
func (v vectors) tile() {
	el := map[int]string{4: "float32", 8: "float64"}[v.size]
	TEXT(v.name, NOSPLIT, fmt.Sprintf("func(m, k int, a []%[1]s, ars, aks int, b []%[1]s, bks int, c []%[1]s, ldc, cols int, from []%[1]s, ldf int, relu bool)", el))
	Doc(fmt.Sprintf("%s is tileGeneric for panels of %d columns, with %s.", v.name, 2*v.lanes(), v.set))
	Pragma("noescape")
	s := state{m: Load(Param("m"), GP64()), mask: GP64()}
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
	v.blocks(s, columns{tag: "full", halves: 2})
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
	v.blocks(s, columns{tag: "part", halves: 2, masked: true})
	v.blocks(s, columns{tag: "half", halves: 1, masked: true})
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
	s := state{m: Load(Param("m"), GP64()), next: GP64()}
	s.a, s.ars, s.aks = Load(Param("a").Base(), GP64()), v.bytes("ars"), v.bytes("aks")
	s.b, s.bks = Load(Param("b").Base(), GP64()), v.bytes("bks")
	s.c, s.ldc = Load(Param("c").Base(), GP64()), v.bytes("ldc")
	s.ars3, s.from = GP64(), AllocLocal(8)
	Load(Param("ahead"), s.next)
	ADDQ(s.b, s.next)
	start := Load(Param("from").Base(), GP64())
	MOVQ(start, s.from)
	LEAQ(Mem{Base: s.ars, Index: s.ars, Scale: 2}, s.ars3)
	v.blocks(s, columns{tag: "full", halves: 2})
	Label("done")
	VZEROUPPER()
	RET()
}

// columns is the part of a panel that a loop covers: both vectors or the first, whole or masked.
type columns struct {
	tag    string
	halves int
	masked bool
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
	for r := 1; r <= v.mr; r++ {
		CMPQ(rows, U32(r))
		JEQ(LabelRef(label(r)))
	}
	JMP(LabelRef("done"))
	for r := v.mr; r > 0; r-- {
		Label(label(r))
		v.block(s, r, label(r), part)
		SUBQ(U32(r), s.m)
		JMP(LabelRef(tag))
	}
}

// block writes one block of rows: C[rows × cols] = from + A·B. a, c and from move on to the next block.
func (v vectors) block(s state, rows int, label string, part columns) {
	halves := part.halves
	b, x := [2]VecPhysical{v.reg(2 * v.mr), v.reg(2*v.mr + 1)}, v.reg(2*v.mr+2)
	acc := func(row, half int) VecPhysical { return v.reg(row*halves + half) }
	at := cursor{a: GP64(), a4: GP64(), b: GP64(), n: GP64(), step: s.bks}
	Load(Param("k"), at.n)
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
	MOVQ(s.from, n)
	TESTQ(n, n)
	JZ(LabelRef(label + "clip"))
	Load(Param("ldf"), pa)
	SHLQ(v.shift(), pa)
	for i := range rows {
		for h := range halves {
			v.load(Mem{Base: n, Disp: h * v.width}, b[h], h, s, part.masked, x)
			v.add(b[h], acc(i, h), acc(i, h))
		}
		ADDQ(pa, n)
	}
	MOVQ(n, s.from)
	Label(label + "clip")
	relu := Load(Param("relu"), GP8())
	TESTB(relu, relu)
	JZ(LabelRef(label + "store"))
	VXORPS(x.AsX(), x.AsX(), x.AsX())
	for i := range rows * halves {
		v.most(acc(i/halves, i%halves), x, acc(i/halves, i%halves)) // NaN stays
	}
	Label(label + "store")
	for i := range rows {
		for h := range halves {
			v.store(acc(i, h), Mem{Base: s.c, Disp: h * v.width}, h, s, part.masked, x)
		}
		ADDQ(s.ldc, s.c)
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
	b, x := [2]VecPhysical{v.reg(2 * v.mr), v.reg(2*v.mr + 1)}, v.reg(2*v.mr+2)
	for i := range part.halves * rows {
		VXORPS(v.reg(i).AsX(), v.reg(i).AsX(), v.reg(i).AsX())
	}
	if rows > 4 {
		LEAQ(Mem{Base: to.a, Index: s.ars, Scale: 4}, to.a4)
	}
	Label(label + "k")
	for h := range part.halves {
		v.load(Mem{Base: to.b, Disp: h * v.width}, b[h], h, s, part.masked, x)
	}
	for i := range rows {
		base := to.a
		if i >= 4 {
			base = to.a4
		}
		at := Mem{Base: base}
		switch i % 4 {
		case 1:
			at = Mem{Base: base, Index: s.ars, Scale: 1}
		case 2:
			at = Mem{Base: base, Index: s.ars, Scale: 2}
		case 3:
			at = Mem{Base: base, Index: s.ars3, Scale: 1}
		}
		v.broadcast(at, x)
		for h := range part.halves {
			v.fma(b[h], x, v.reg(i*part.halves+h))
		}
	}
	if to.fetch != nil {
		to.fetch()
	}
	ADDQ(to.step, to.b)
	ADDQ(s.aks, to.a)
	if rows > 4 {
		ADDQ(s.aks, to.a4)
	}
	DECQ(to.n)
	JNZ(LabelRef(label + "k"))
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
