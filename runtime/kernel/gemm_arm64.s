//go:build !noasm

#include "textflag.h"
#include "neon_arm64.h"

// The tiles: up to six rows of a panel of four vectors, V0 … V23, row after row. The rows of A are at R1 …
// R6 plus R16, which goes on by R7 a term, B is at R8 with rows R9 apart, a row of it in V24 … V27.

#define MLAS4(x, r) FMLAXE(x, 0, 24, r)
#define MLAD2(x, r) FMLAXDE(x, 0, 24, r)

#define ROWOF(b, v0, v1, v2, v3) \
	FMOVQ (b), v0; \
	FMOVQ 16(b), v1; \
	FMOVQ 32(b), v2; \
	FMOVQ 48(b), v3

// TERM adds a term: the next element of each row of A times the row of B that is at b. Loads are plain
// ones, which cost no arithmetic slot, some before their use and between other work: cores that run in
// order need both.
#define TERM6(GET, MLA, b) \
	ROWOF(b, F24, F25, F26, F27); \
	GET (R1)(R16), F28; \
	GET (R2)(R16), F29; \
	GET (R3)(R16), F30; \
	GET (R4)(R16), F31; \
	MLA(28, 0); \
	GET (R5)(R16), F28; \
	MLA(29, 4); \
	GET (R6)(R16), F29; \
	MLA(30, 8); \
	MLA(31, 12); \
	MLA(28, 16); \
	MLA(29, 20); \
	ADD R7, R16
#define TERM4(GET, MLA, b) \
	ROWOF(b, F24, F25, F26, F27); \
	GET (R1)(R16), F28; \
	GET (R2)(R16), F29; \
	GET (R3)(R16), F30; \
	GET (R4)(R16), F31; \
	MLA(28, 0); \
	MLA(29, 4); \
	MLA(30, 8); \
	MLA(31, 12); \
	ADD R7, R16
#define TERM2(GET, MLA, b) \
	ROWOF(b, F24, F25, F26, F27); \
	GET (R1)(R16), F28; \
	GET (R2)(R16), F29; \
	MLA(28, 0); \
	MLA(29, 4); \
	ADD R7, R16
#define TERM1(GET, MLA, b) \
	ROWOF(b, F24, F25, F26, F27); \
	GET (R1)(R16), F28; \
	MLA(28, 0); \
	ADD R7, R16

// EACH does something to the sums of each row.
#define EACH6(DO) DO(0); DO(4); DO(8); DO(12); DO(16); DO(20)
#define EACH4(DO) DO(0); DO(4); DO(8); DO(12)
#define EACH2(DO) DO(0); DO(4)
#define EACH1(DO) DO(0)

#define FROMS4(r) LOADX(12, 24); ADD R13, R12; FADDX(24, r, r)
#define FROMD2(r) LOADX(12, 24); ADD R13, R12; FADDXD(24, r, r)
#define CLIPS4(r) FMAXXC(31, r, r)
#define CLIPD2(r) FMAXXDC(31, r, r)
#define STORE(r) STOREX(10, r); ADD R11, R10

// TILE is the whole tile. Strides are in bytes. part is 0 for a whole panel, else the words of a row of it:
// rows of from and C go by way of the stack then, and so do those of B after the first whole ones.
#define TILE(rows, TERM, EACH, GET, MLA, FROM, CLIP) \
	MOVD k+0(FP), R23; \
	MOVD whole+8(FP), R0; \
	MOVD a+16(FP), R1; \
	MOVD ars+24(FP), R15; \
	MOVD aks+32(FP), R7; \
	MOVD b+40(FP), R8; \
	MOVD bks+48(FP), R9; \
	MOVD part+72(FP), R19; \
	ADD R15, R1, R2; \
	ADD R15, R2, R3; \
	ADD R15, R3, R4; \
	ADD R15, R4, R5; \
	ADD R15, R5, R6; \
	MOVD $0, R16; \
	EACH(ZEROX); \
	SUB R0, R23; \
	CBZ R0, rest; \
loop: \
	TERM(GET, MLA, R8); \
	ADD R9, R8; \
	SUBS $1, R0; \
	BNE loop; \
rest: \
	CBZ R23, sums; \
short: \
	MOVD R8, R20; \
	MOVD $buf-384(SP), R21; \
	COPY(short8, short4, short2, short1); \
	MOVD $buf-384(SP), R21; \
	TERM(GET, MLA, R21); \
	ADD R9, R8; \
	SUBS $1, R23; \
	BNE short; \
sums: \
	MOVD from+80(FP), R12; \
	CBZ R12, clip; \
	MOVD ldf+88(FP), R13; \
	CBZ R19, add; \
	MOVD $buf-384(SP), R24; \
	MOVD $rows, R25; \
gather: \
	MOVD R12, R20; \
	MOVD R24, R21; \
	COPY(gather8, gather4, gather2, gather1); \
	ADD R13, R12; \
	ADD $64, R24; \
	SUBS $1, R25; \
	BNE gather; \
	MOVD $buf-384(SP), R12; \
	MOVD $64, R13; \
add: \
	EACH(FROM); \
clip: \
	MOVBU relu+96(FP), R14; \
	CBZ R14, store; \
	ZEROS4(31); \
	EACH(CLIP); \
store: \
	MOVD c+56(FP), R10; \
	MOVD ldc+64(FP), R11; \
	CBNZ R19, parts; \
	EACH(STORE); \
	RET; \
parts: \
	MOVD R10, R12; \
	MOVD R11, R13; \
	MOVD $buf-384(SP), R10; \
	MOVD R10, R24; \
	MOVD $64, R11; \
	EACH(STORE); \
	MOVD $rows, R25; \
scatter: \
	MOVD R24, R20; \
	MOVD R12, R21; \
	COPY(scatter8, scatter4, scatter2, scatter1); \
	ADD $64, R24; \
	ADD R13, R12; \
	SUBS $1, R25; \
	BNE scatter; \
	RET

#define ROWS4(x, r) FMLAXE(28, 0, x, r)
#define ROWD2(x, r) FMLAXDE(28, 0, x, r)
#define JOINS4(x, r) FADDX(x, r, r)
#define JOIND2(x, r) FADDXD(x, r, r)

// ROW is impl.row: four panels at R8, R4, R5 and R6, a row of each in V16 … V19, V20 … V23, V24 … V27 and
// V16 … V19 again. Four streams are what CPUs fetch ahead by themselves, so ahead is left alone.
#define ROW(shift, GET, MLA, JOIN, CLIP) \
	MOVD k+0(FP), R0; \
	MOVD a_base+8(FP), R1; \
	MOVD aks+32(FP), R7; \
	MOVD b_base+40(FP), R8; \
	MOVD step+64(FP), R15; \
	MOVD bks+72(FP), R9; \
	LSL $shift, R7; \
	LSL $shift, R15; \
	LSL $shift, R9; \
	ADD R15, R8, R4; \
	ADD R15, R4, R5; \
	ADD R15, R5, R6; \
	EACH4(ZEROX); \
loop: \
	GET (R1), F28; \
	ADD R7, R1; \
	ROWOF(R8, F16, F17, F18, F19); \
	ROWOF(R4, F20, F21, F22, F23); \
	ROWOF(R5, F24, F25, F26, F27); \
	ADD R9, R8; \
	ADD R9, R4; \
	ADD R9, R5; \
	MLA(16, 0); \
	ROWOF(R6, F16, F17, F18, F19); \
	ADD R9, R6; \
	MLA(20, 4); \
	MLA(24, 8); \
	MLA(16, 12); \
	SUBS $1, R0; \
	BNE loop; \
	MOVD from_base+112(FP), R12; \
	CBZ R12, clip; \
	VLD1.P 64(R12), [V16.S4, V17.S4, V18.S4, V19.S4]; \
	JOIN(16, 0); \
	VLD1.P 64(R12), [V16.S4, V17.S4, V18.S4, V19.S4]; \
	JOIN(16, 4); \
	VLD1.P 64(R12), [V16.S4, V17.S4, V18.S4, V19.S4]; \
	JOIN(16, 8); \
	VLD1.P 64(R12), [V16.S4, V17.S4, V18.S4, V19.S4]; \
	JOIN(16, 12); \
clip: \
	MOVBU relu+136(FP), R14; \
	CBZ R14, store; \
	ZEROS4(31); \
	EACH4(CLIP); \
store: \
	MOVD c_base+88(FP), R10; \
	MOVD $64, R11; \
	EACH4(STORE); \
	RET

// func tile6NEONF32(k, whole int, a *float32, ars, aks int, b *float32, bks int, c *float32, ldc, part int, from *float32, ldf int, relu bool)
TEXT ·tile6NEONF32(SB), NOSPLIT, $384-97
	TILE(6, TERM6, EACH6, FMOVS, MLAS4, FROMS4, CLIPS4)

// func tile4NEONF32(k, whole int, a *float32, ars, aks int, b *float32, bks int, c *float32, ldc, part int, from *float32, ldf int, relu bool)
TEXT ·tile4NEONF32(SB), NOSPLIT, $384-97
	TILE(4, TERM4, EACH4, FMOVS, MLAS4, FROMS4, CLIPS4)

// func tile2NEONF32(k, whole int, a *float32, ars, aks int, b *float32, bks int, c *float32, ldc, part int, from *float32, ldf int, relu bool)
TEXT ·tile2NEONF32(SB), NOSPLIT, $384-97
	TILE(2, TERM2, EACH2, FMOVS, MLAS4, FROMS4, CLIPS4)

// func tile1NEONF32(k, whole int, a *float32, ars, aks int, b *float32, bks int, c *float32, ldc, part int, from *float32, ldf int, relu bool)
TEXT ·tile1NEONF32(SB), NOSPLIT, $384-97
	TILE(1, TERM1, EACH1, FMOVS, MLAS4, FROMS4, CLIPS4)

// func tile6NEONF64(k, whole int, a *float64, ars, aks int, b *float64, bks int, c *float64, ldc, part int, from *float64, ldf int, relu bool)
TEXT ·tile6NEONF64(SB), NOSPLIT, $384-97
	TILE(6, TERM6, EACH6, FMOVD, MLAD2, FROMD2, CLIPD2)

// func tile4NEONF64(k, whole int, a *float64, ars, aks int, b *float64, bks int, c *float64, ldc, part int, from *float64, ldf int, relu bool)
TEXT ·tile4NEONF64(SB), NOSPLIT, $384-97
	TILE(4, TERM4, EACH4, FMOVD, MLAD2, FROMD2, CLIPD2)

// func tile2NEONF64(k, whole int, a *float64, ars, aks int, b *float64, bks int, c *float64, ldc, part int, from *float64, ldf int, relu bool)
TEXT ·tile2NEONF64(SB), NOSPLIT, $384-97
	TILE(2, TERM2, EACH2, FMOVD, MLAD2, FROMD2, CLIPD2)

// func tile1NEONF64(k, whole int, a *float64, ars, aks int, b *float64, bks int, c *float64, ldc, part int, from *float64, ldf int, relu bool)
TEXT ·tile1NEONF64(SB), NOSPLIT, $384-97
	TILE(1, TERM1, EACH1, FMOVD, MLAD2, FROMD2, CLIPD2)

// func rowNEONF32(k int, a []float32, aks int, b []float32, step, bks, ahead int, c, from []float32, relu bool)
TEXT ·rowNEONF32(SB), NOSPLIT, $0-137
	ROW(2, FMOVS, ROWS4, JOINS4, CLIPS4)

// func rowNEONF64(k int, a []float64, aks int, b []float64, step, bks, ahead int, c, from []float64, relu bool)
TEXT ·rowNEONF64(SB), NOSPLIT, $0-137
	ROW(3, FMOVD, ROWD2, JOIND2, CLIPD2)
