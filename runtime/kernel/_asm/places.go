package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// places writes the functions behind Places, PlacesOfPairs and Among in places.go. They take instructions that AVX2 has
// nothing like.
func places() {
	for _, of := range []struct {
		name, el string
		size     int
	}{{"64", "int64", 8}, {"32", "int32", 4}} {
		placesOf(of.name, of.el, of.size)
		placesOfPairs(of.name, of.el, of.size)
	}
	among()
}

// sixteenOf loads sixteen integers as int32; those of int64 that it cannot hold become its ends.
func sixteenOf(list Register, size, disp int) VecVirtual {
	v := ZMM()
	if size == 4 {
		VMOVDQU32(Mem{Base: list, Disp: disp}, v)
		return v
	}
	low, high := ZMM(), ZMM()
	a, b := YMM(), YMM()
	VMOVDQU64(Mem{Base: list, Disp: disp}, low)
	VMOVDQU64(Mem{Base: list, Disp: disp + 64}, high)
	VPMOVSQD(low, a)
	VPMOVSQD(high, b)
	VINSERTI64X4(U8(1), b, a.AsZ(), v)
	return v
}

// everywhere is a parameter, which int32 can hold, in all lanes.
func everywhere(name string) VecVirtual {
	v := ZMM()
	g, x := Load(Param(name), GP64()), XMM()
	VMOVD(g.(GPVirtual).As32(), x)
	VPBROADCASTD(x, v)
	return v
}

// fromFront adds d to what is below 0, and marks what is not below d then.
func fromFront(v, d VecVirtual, outside OpmaskVirtual) {
	t, k := ZMM(), K()
	VPSRAD(U8(31), v, t)
	VPANDD(d, t, t)
	VPADDD(t, v, v)
	VPCMPUD(U8(5), d, v, k) // not less
	KORW(k, outside, outside)
}

// numbers is a register of 0, 1, 2, …, each times so much and so much more.
func numbers(name string, times, plus int) VecVirtual {
	GLOBL(name, RODATA|NOPTR)
	for i := range 16 {
		DATA(4*i, U32(times*i+plus))
	}
	v := ZMM()
	VMOVDQU32(NewDataAddr(NewStaticSymbol(name), 0), v)
	return v
}

// finish returns whether all were inside.
func finish(outside OpmaskVirtual) {
	g := GP32()
	KMOVW(outside, g)
	TESTL(g, g)
	SETEQ(g.As8())
	Store(g.As8(), ReturnIndex(0))
	VZEROUPPER()
	RET()
}

func placesOf(name, el string, size int) {
	TEXT("places"+name+"AVX512", NOSPLIT, "func(n int, places []int32, list []"+el+", d, step, along, from int) bool")
	Doc("places" + name + "AVX512 is placesGeneric, for n a positive multiple of 16, with AVX-512F.")
	Pragma("noescape")
	n, to, list := Load(Param("n"), GP64()), Load(Param("places").Base(), GP64()), Load(Param("list").Base(), GP64())
	d, step, along, base := everywhere("d"), everywhere("step"), everywhere("along"), everywhere("from")
	outside, t := K(), ZMM()
	KXORW(outside, outside, outside)
	VPMULLD(numbers("upTo"+name, 1, 0), along, t)
	VPADDD(t, base, base)
	VPSLLD(U8(4), along, along)
	Label("loop")
	v := sixteenOf(list, size, 0)
	fromFront(v, d, outside)
	VPMULLD(step, v, v)
	VPADDD(base, v, v)
	VPADDD(along, base, base)
	VMOVDQU32(v, Mem{Base: to})
	ADDQ(U32(16*size), list)
	ADDQ(U32(64), to)
	SUBQ(U32(16), n)
	JNZ(LabelRef("loop"))
	finish(outside)
}

func placesOfPairs(name, el string, size int) {
	TEXT("pairs"+name+"AVX512", NOSPLIT, "func(n int, places []int32, list []"+el+", high, wide int) bool")
	Doc("pairs" + name + "AVX512 is pairsGeneric, for n a positive multiple of 16, with AVX-512F.")
	Pragma("noescape")
	n, to, list := Load(Param("n"), GP64()), Load(Param("places").Base(), GP64()), Load(Param("list").Base(), GP64())
	high, wide := everywhere("high"), everywhere("wide")
	outside := K()
	KXORW(outside, outside, outside)
	even, odd := numbers("even"+name, 2, 0), numbers("odd"+name, 2, 1)
	Label("loop")
	a, b := sixteenOf(list, size, 0), sixteenOf(list, size, 16*size)
	i, j := ZMM(), ZMM()
	VMOVDQA32(even, i)
	VMOVDQA32(odd, j)
	VPERMI2D(b, a, i)
	VPERMI2D(b, a, j)
	fromFront(i, high, outside)
	fromFront(j, wide, outside)
	VPMULLD(wide, i, i)
	VPADDD(j, i, i)
	VMOVDQU32(i, Mem{Base: to})
	ADDQ(U32(32*size), list)
	ADDQ(U32(64), to)
	SUBQ(U32(16), n)
	JNZ(LabelRef("loop"))
	finish(outside)
}

func among() {
	TEXT("amongAVX512", NOSPLIT, "func(n int, where, which, places []int32, least, count int) int")
	Doc("amongAVX512 is amongGeneric, for n a positive multiple of 16, with AVX-512F. It writes up to 15 elements more.")
	Pragma("noescape")
	n, places := Load(Param("n"), GP64()), Load(Param("places").Base(), GP64())
	where, which := Load(Param("where").Base(), GP64()), Load(Param("which").Base(), GP64())
	least, count := everywhere("least"), everywhere("count")
	number, sixteen := numbers("numbers", 1, 0), ZMM()
	g, x, found, some := GP32(), XMM(), GP64(), GP32()
	MOVL(U32(16), g)
	VMOVD(g, x)
	VPBROADCASTD(x, sixteen)
	XORQ(found, found)
	Label("loop")
	v, at, k := ZMM(), ZMM(), K()
	VMOVDQU32(Mem{Base: places}, v)
	VPSUBD(least, v, v)
	VPCMPUD(U8(1), count, v, k) // less
	VPCOMPRESSD_Z(v, k, at)
	VMOVDQU32(at, Mem{Base: where, Index: found, Scale: 4})
	VPCOMPRESSD_Z(number, k, at)
	VMOVDQU32(at, Mem{Base: which, Index: found, Scale: 4})
	KMOVW(k, some)
	POPCNTL(some, some)
	ADDQ(some.As64(), found)
	VPADDD(sixteen, number, number)
	ADDQ(U32(64), places)
	SUBQ(U32(16), n)
	JNZ(LabelRef("loop"))
	Store(found, ReturnIndex(0))
	VZEROUPPER()
	RET()
}
