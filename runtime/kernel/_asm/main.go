// Command asm writes the assembly of package kernel: go generate in its folder.
package main

import (
	"flag"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func main() {
	pools := flag.Bool("windows", false, "write the loops of pools alone")
	folds := flag.Bool("folds", false, "write the folds alone")
	norms := flag.Bool("norms", false, "write the loops of normalisations alone")
	indices := flag.Bool("places", false, "write the loops over indices alone")
	flag.Parse()
	ConstraintExpr("!noasm")
	if *folds {
		masks()
		avx2f32.folds()
		avx512f32.folds()
		Generate()
		return
	}
	if *indices {
		places()
		Generate()
		return
	}
	if *pools {
		masks()
		settled()
		avx2f32.windows()
		avx512f32.windows()
		Generate()
		return
	}
	if *norms {
		masks()
		avx2f32.norms()
		avx512f32.norms()
		Generate()
		return
	}
	cpuid()
	masks()
	for _, v := range []vectors{avx2f32, avx2f64, avx512f32, avx512f64} {
		v.tile()
		v.stream()
		v.few()

		v.row()
	}
	for _, v := range []vectors{avx2f32, avx512f32} {
		v.pair()
		v.elements()
	}
	avx2f32.turn()
	avx2f64.turn()
	Generate()
}

// cpuid writes the two stubs that detection needs.
func cpuid() {
	TEXT("cpuid", NOSPLIT, "func(leaf, sub uint32) (a, b, c, d uint32)")
	Doc("cpuid is the instruction of that name.")
	Load(Param("leaf"), reg.EAX)
	Load(Param("sub"), reg.ECX)
	CPUID()
	Store(reg.EAX, Return("a"))
	Store(reg.EBX, Return("b"))
	Store(reg.ECX, Return("c"))
	Store(reg.EDX, Return("d"))
	RET()

	TEXT("xgetbv", NOSPLIT, "func() uint32")
	Doc("xgetbv returns the low half of XCR0: which registers the system saves.")
	XORL(reg.ECX, reg.ECX)
	XGETBV()
	Store(reg.EAX, ReturnIndex(0))
	RET()
}

// masks writes the table that AVX2 takes its masks of columns from: 64 bytes of ones, then zeros.
func masks() {
	GLOBL("masks", RODATA|NOPTR)
	for i := range 8 {
		DATA(8*i, operand.U64(1<<64-1))
	}
	for i := range 8 {
		DATA(64+8*i, operand.U64(0))
	}
}
