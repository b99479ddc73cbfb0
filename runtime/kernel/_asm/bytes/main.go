// Command bytes writes the assembly of package kernel's products of bytes: go generate in its folder.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const (
	vectors = 4  // of 16 columns that a panel has
	panel   = 64 // columns, and bytes of a vector
)

func main() {
	ConstraintExpr("!noasm")
	for rows := 1; rows <= 6; rows++ {
		tile(rows)
	}
	panels()
	row()
	Generate()
}

// dot adds to each of 16 int32 the products of four unsigned bytes with four signed ones: VPDPBUSD of
// AVX512_VNNI, which avo does not know.
func dot(signed Op, unsigned, sum Register) {
	in := []Register{unsigned, sum}
	if r, ok := signed.(Register); ok {
		in = append(in, r)
	}
	i := &ir.Instruction{Opcode: "VPDPBUSD", Operands: []Op{signed, unsigned, sum}, ISA: []string{"AVX512_VNNI"}, Outputs: []Op{sum}}
	for _, r := range in {
		i.Inputs = append(i.Inputs, r)
	}
	if m, ok := signed.(Mem); ok {
		i.Inputs = append(i.Inputs, m)
	}
	Instruction(i)
}

// tile: see byteTiles.
func tile(rows int) {
	name := fmt.Sprintf("byteTile%d", rows)
	TEXT(name, NOSPLIT, "func(quads int, a *uint8, lda int, b *int8, lines, cols, c *int32, ldc int, mask uint64)")
	Doc(fmt.Sprintf("%s is a byteTile of %d rows with AVX512_VNNI.", name, rows))
	Pragma("noescape")
	quads, b := Load(Param("quads"), GP64()), Load(Param("b"), GP64())
	a, lda := Load(Param("a"), GP64()), Load(Param("lda"), GP64())
	lines, cols := Load(Param("lines"), GP64()), Load(Param("cols"), GP64())
	acc := make([][]VecVirtual, rows)
	x, y := ZMM(), ZMM()
	b0 := []VecVirtual{ZMM(), ZMM(), ZMM(), ZMM()}
	for i := range acc {
		VPBROADCASTD(Mem{Base: lines, Disp: 8 * i}, x)
		VPBROADCASTD(Mem{Base: lines, Disp: 8*i + 4}, y)
		acc[i] = make([]VecVirtual, vectors)
		for j := range acc[i] {
			acc[i][j] = ZMM()
			VPMULLD(Mem{Base: cols, Disp: 64 * j}, x, acc[i][j])
			VPMULLD(Mem{Base: cols, Disp: 4*panel + 64*j}, y, b0[0])
			VPADDD(b0[0], acc[i][j], acc[i][j])
		}
	}
	// Rows 0 to 2 from a, 3 to 5 from a further pointer: an index has no factor of 3.
	a3 := GP64()
	LEAQ(Mem{Base: lda, Index: lda, Scale: 2}, a3)
	ADDQ(a, a3)
	at := func(i int) Mem {
		base := a
		if i >= 3 {
			base = a3
		}
		switch i % 3 {
		case 0:
			return Mem{Base: base}
		case 1:
			return Mem{Base: base, Index: lda, Scale: 1}
		}
		return Mem{Base: base, Index: lda, Scale: 2}
	}
	Label("quad")
	for j, v := range b0 {
		VMOVDQU8(Mem{Base: b, Disp: 64 * j}, v)
	}
	for i := range acc {
		VPBROADCASTD(at(i), x)
		for j, v := range b0 {
			dot(v, x, acc[i][j])
		}
	}
	ADDQ(U8(4), a)
	ADDQ(U8(4), a3)
	ADDQ(U32(4*panel), b)
	DECQ(quads)
	JNE(LabelRef("quad"))
	store(acc)
	RET()
}

// store writes the columns in mask.
func store(acc [][]VecVirtual) {
	c, ldc := Load(Param("c"), GP64()), Load(Param("ldc"), GP64())
	mask := Load(Param("mask"), GP64())
	SHLQ(U8(2), ldc)
	k := make([]OpmaskVirtual, vectors)
	for j := range k {
		k[j] = K()
		KMOVW(mask.(GPVirtual).As32(), k[j])
		SHRQ(U8(16), mask)
	}
	for _, row := range acc {
		for j, v := range row {
			VMOVDQU32(v, k[j], Mem{Base: c, Disp: 64 * j})
		}
		ADDQ(ldc, c)
	}
}

// panels: see bytePanel.
func panels() {
	TEXT("bytePanel", NOSPLIT, "func(k int, b *uint8, rows *int, to *int8, sums *int32, flip uint64, mask uint64)")
	Doc("bytePanel packs k rows, which begin at b + rows[i], of the columns in mask for byteTiles, each byte less flip,", "and stores their sums, with AVX512BW and AVX512_VNNI. It reads rows up to a multiple of 4.")
	Pragma("noescape")
	k, b, starts := Load(Param("k"), GP64()), Load(Param("b"), GP64()), Load(Param("rows"), GP64())
	to, sums, mask := Load(Param("to"), GP64()), Load(Param("sums"), GP64()), Load(Param("mask"), GP64())
	flip, ones := ZMM(), ZMM()
	broadcast(Load(Param("flip"), GP64()).(GPVirtual), flip)
	one := GP64()
	MOVQ(U32(1), one)
	broadcast(one, ones)
	keep := []OpmaskVirtual{K(), K(), K(), K()}
	for _, m := range keep {
		KMOVQ(mask, m)
	}
	acc := make([]VecVirtual, vectors)
	for j := range acc {
		acc[j] = ZMM()
		VPXORD(acc[j], acc[j], acc[j])
	}
	Label("quad")
	CMPQ(k, U32(4))
	JGE(LabelRef("whole"))
	for i := 1; i < 4; i++ { // rows beyond the last one are 0
		CMPQ(k, U32(uint32(i)))
		JGT(LabelRef(fmt.Sprint("row", i)))
		KXORQ(keep[i], keep[i], keep[i])
		Label(fmt.Sprint("row", i))
	}
	Label("whole")
	r := []VecVirtual{ZMM(), ZMM(), ZMM(), ZMM()}
	for i, v := range r {
		start := GP64()
		MOVQ(Mem{Base: starts, Disp: 8 * i}, start)
		VMOVDQU8_Z(Mem{Base: b, Index: start, Scale: 1}, keep[i], v)
		VPSUBB_Z(flip, v, keep[i], v)
	}
	// In each quarter of a register: bytes of two rows in turns, then of four, for columns 0-3, 4-7, 8-11, 12-15.
	low01, high01, low23, high23 := ZMM(), ZMM(), ZMM(), ZMM()
	VPUNPCKLBW(r[1], r[0], low01)
	VPUNPCKHBW(r[1], r[0], high01)
	VPUNPCKLBW(r[3], r[2], low23)
	VPUNPCKHBW(r[3], r[2], high23)
	q := r
	VPUNPCKLWD(low23, low01, q[0])
	VPUNPCKHWD(low23, low01, q[1])
	VPUNPCKLWD(high23, high01, q[2])
	VPUNPCKHWD(high23, high01, q[3])
	// Quarter l of q[j] is columns 16l+4j to 16l+4j+3; quarter j of vector l shall be.
	s := []VecVirtual{low01, high01, low23, high23}
	VSHUFI32X4(U8(0x88), q[1], q[0], s[0]) // 0.0 0.2 1.0 1.2
	VSHUFI32X4(U8(0xdd), q[1], q[0], s[1]) // 0.1 0.3 1.1 1.3
	VSHUFI32X4(U8(0x88), q[3], q[2], s[2])
	VSHUFI32X4(U8(0xdd), q[3], q[2], s[3])
	VSHUFI32X4(U8(0x88), s[2], s[0], q[0]) // 0.0 1.0 2.0 3.0
	VSHUFI32X4(U8(0x88), s[3], s[1], q[1]) // 0.1 1.1 2.1 3.1
	VSHUFI32X4(U8(0xdd), s[2], s[0], q[2])
	VSHUFI32X4(U8(0xdd), s[3], s[1], q[3])
	for j, v := range q {
		VMOVDQU8(v, Mem{Base: to, Disp: 64 * j})
		dot(v, ones, acc[j])
	}
	ADDQ(U32(4*panel), to)
	ADDQ(U8(32), starts)
	SUBQ(U32(4), k)
	JG(LabelRef("quad"))
	for j, v := range acc {
		VMOVDQU32(v, Mem{Base: sums, Disp: 64 * j})
	}
	RET()
}

// row: see byteRow.
func row() {
	TEXT("byteRow", NOSPLIT, "func(k int, a, to *uint8, sums *int32, flip uint64)")
	Doc("byteRow copies k bytes, each less flip, and 0 up to a multiple of 64, and stores 16 sums of them, with AVX512BW and AVX512_VNNI.")
	Pragma("noescape")
	k, a := Load(Param("k"), GP64()), Load(Param("a"), GP64())
	to, sums := Load(Param("to"), GP64()), Load(Param("sums"), GP64())
	flip, ones, acc, x := ZMM(), ZMM(), ZMM(), ZMM()
	broadcast(Load(Param("flip"), GP64()).(GPVirtual), flip)
	one, all := GP64(), GP64()
	MOVQ(U32(1), one)
	broadcast(one, ones)
	VPXORD(acc, acc, acc)
	mask := K()
	MOVQ(I32(-1), all)
	KMOVQ(all, mask)
	Label("vector")
	CMPQ(k, U32(64))
	JGE(LabelRef("whole"))
	XORQ(all, all)
	BTSQ(k, all)
	DECQ(all)
	KMOVQ(all, mask)
	Label("whole")
	VMOVDQU8_Z(Mem{Base: a}, mask, x)
	VPSUBB_Z(flip, x, mask, x)
	VMOVDQU8(x, Mem{Base: to})
	dot(ones, x, acc)
	ADDQ(U32(64), a)
	ADDQ(U32(64), to)
	SUBQ(U32(64), k)
	JG(LabelRef("vector"))
	VMOVDQU32(acc, Mem{Base: sums})
	RET()
}

// broadcast copies the lowest byte to all of v.
func broadcast(x GPVirtual, v VecVirtual) { VPBROADCASTB(x.As32(), v) }
