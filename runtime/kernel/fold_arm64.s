//go:build !noasm

#include "textflag.h"
#include "neon_arm64.h"

// The folds. m, n, y, x and xs are in R0, R1, R2, R4 and R5 (strides in bytes), the rest of a row in R7 and R8, R11 is
// 64 bytes on the stack. Numbers that are added or multiplied have the lanes V24 … V31, extremes V8 … V11; FMAX and FMIN
// have the order of the folds: NaN wins, -0 is below 0.

#define FCVTNS2(n, d) WORD $(0x0e616800 | (n)<<5 | (d)) // FCVTN Vd.2S, Vn.2D
#define FCVTNS4(n, d) WORD $(0x4e616800 | (n)<<5 | (d)) // FCVTN2 Vd.4S, Vn.2D
#define FMINPS4(m, n, d) WORD $(0x6ea0f400 | (m)<<16 | (n)<<5 | (d)) // FMINP: of n's pairs, then of m's
#define FMULXD(m, n, d) FMULD2(m, n, d); FMULD2((m)+1, (n)+1, (d)+1); FMULD2((m)+2, (n)+2, (d)+2); FMULD2((m)+3, (n)+3, (d)+3)

// ADD…, of the elements in V0 … V3, are a step of each fold.
#define ADDSUM WIDEADD(0)
#define ADDABS FABSX(0, 0); WIDEADD(0)
#define ADDSQUARE WIDESQUARE(0)
#define ADDPROD WIDE(0); FMULXD(4, 24, 24); FMULXD(20, 28, 28)
#define ADDMAX FMAXX(0, 8, 8)
#define ADDMIN FMINX(0, 8, 8)

#define ARGUMENTS \
	MOVD m+0(FP), R0; \
	MOVD n+8(FP), R1; \
	MOVD y_base+16(FP), R2; \
	MOVD x_base+40(FP), R4; \
	MOVD xs+64(FP), R5; \
	LSL $2, R5

// ALONG does STEP for a row, which is padded with V19.
#define ALONG(STEP) \
	MOVD R4, R7; \
	MOVD R1, R8; \
	CMP $16, R8; \
	BLT part; \
loop: \
	VLD1.P 64(R7), [V0.S4, V1.S4, V2.S4, V3.S4]; \
	STEP; \
	SUB $16, R8; \
	CMP $16, R8; \
	BGE loop; \
part: \
	CBZ R8, total; \
	PART(V19.S4, get8, get4, get2, get1); \
	STEP; \
total:

// ADDS is a fold of rows to sums.
#define ADDS(STEP) \
	ARGUMENTS; \
	MOVD $buf-64(SP), R11; \
	VEOR V19.B16, V19.B16, V19.B16; \
row: \
	WIDEZERO; \
	ALONG(STEP); \
	WIDETOTAL; \
	FMOVD (R2), F0; \
	FADDD F0, F24, F24; \
	FMOVD.P F24, 8(R2); \
	ADD R5, R4; \
	SUBS $1, R0; \
	BNE row; \
	RET

// EXTREMES is a fold of rows to extremes, which starts from what is in y.
#define EXTREMES(STEP, OP, PAIRS, pad) \
	ARGUMENTS; \
	MOVD $buf-64(SP), R11; \
	MOVD $pad, R9; \
	VDUP R9, V19.S4; \
row: \
	FMOVD (R2), F8; \
	FCVTDS F8, F8; \
	VDUP V8.S[0], V8.S4; \
	COPYX1(8, 8); \
	ALONG(STEP); \
	OP(9, 8, 8); \
	OP(11, 10, 10); \
	OP(10, 8, 8); \
	PAIRS(8, 8, 8); \
	PAIRS(8, 8, 8); \
	FCVTSD F8, F8; \
	FMOVD.P F8, 8(R2); \
	ADD R5, R4; \
	SUBS $1, R0; \
	BNE row; \
	RET

// func foldRowsSumNEON(m, n int, y []float64, x []float32, xs int)
TEXT ·foldRowsSumNEON(SB), NOSPLIT, $64-72
	ADDS(ADDSUM)

// func foldRowsAbsNEON(m, n int, y []float64, x []float32, xs int)
TEXT ·foldRowsAbsNEON(SB), NOSPLIT, $64-72
	ADDS(ADDABS)

// func foldRowsSquareNEON(m, n int, y []float64, x []float32, xs int)
TEXT ·foldRowsSquareNEON(SB), NOSPLIT, $64-72
	ADDS(ADDSQUARE)

// func foldRowsProdNEON(m, n int, y []float64, x []float32, xs int)
TEXT ·foldRowsProdNEON(SB), NOSPLIT, $64-72
	ARGUMENTS
	MOVD $buf-64(SP), R11
	ONES4(19)
row:
	MOVD $0x3ff0000000000000, R9 // 1
	VDUP R9, V24.D2
	COPYX1(24, 24)
	COPYX1(24, 28)
	ALONG(ADDPROD)
	FMULXD(28, 24, 24)
	FMULD2(26, 24, 24)
	FMULD2(27, 25, 25)
	FMULD2(25, 24, 24)
	VDUP V24.D[1], V25.D2
	FMULD F25, F24, F24
	FMOVD (R2), F0
	FMULD F0, F24, F24
	FMOVD.P F24, 8(R2)
	ADD R5, R4
	SUBS $1, R0
	BNE row
	RET

// func foldRowsMaxNEON(m, n int, y []float64, x []float32, xs int)
TEXT ·foldRowsMaxNEON(SB), NOSPLIT, $64-72
	EXTREMES(ADDMAX, FMAXS4, FMAXPS4, 0xff800000)

// func foldRowsMinNEON(m, n int, y []float64, x []float32, xs int)
TEXT ·foldRowsMinNEON(SB), NOSPLIT, $64-72
	EXTREMES(ADDMIN, FMINS4, FMINPS4, 0x7f800000)

// DOWN does STEP for each row of sixteen columns.
#define DOWN(STEP) \
	MOVD R4, R7; \
	MOVD R0, R8; \
down: \
	LOADX(7, 0); \
	STEP; \
	ADD R5, R7; \
	SUBS $1, R8; \
	BNE down; \
	ADD $64, R4

// SIXTEENS is a fold of columns, n being a multiple of 16, from y on.
#define SIXTEENS(STEP) \
	ARGUMENTS; \
columns: \
	MOVD R2, R6; \
	VLD1.P 64(R6), [V24.D2, V25.D2, V26.D2, V27.D2]; \
	VLD1 (R6), [V28.D2, V29.D2, V30.D2, V31.D2]; \
	DOWN(STEP); \
	VST1.P [V24.D2, V25.D2, V26.D2, V27.D2], 64(R2); \
	VST1.P [V28.D2, V29.D2, V30.D2, V31.D2], 64(R2); \
	SUBS $16, R1; \
	BNE columns; \
	RET

// EXTREME16S likewise.
#define EXTREME16S(STEP) \
	ARGUMENTS; \
columns: \
	MOVD R2, R6; \
	VLD1.P 64(R6), [V24.D2, V25.D2, V26.D2, V27.D2]; \
	VLD1 (R6), [V28.D2, V29.D2, V30.D2, V31.D2]; \
	FCVTNS2(24, 8); \
	FCVTNS4(25, 8); \
	FCVTNS2(26, 9); \
	FCVTNS4(27, 9); \
	FCVTNS2(28, 10); \
	FCVTNS4(29, 10); \
	FCVTNS2(30, 11); \
	FCVTNS4(31, 11); \
	DOWN(STEP); \
	WIDE(8); \
	VST1.P [V4.D2, V5.D2, V6.D2, V7.D2], 64(R2); \
	VST1.P [V20.D2, V21.D2, V22.D2, V23.D2], 64(R2); \
	SUBS $16, R1; \
	BNE columns; \
	RET

// func foldColumnsSumNEON(m, n int, y []float64, x []float32, xs int)
TEXT ·foldColumnsSumNEON(SB), NOSPLIT, $0-72
	SIXTEENS(ADDSUM)

// func foldColumnsAbsNEON(m, n int, y []float64, x []float32, xs int)
TEXT ·foldColumnsAbsNEON(SB), NOSPLIT, $0-72
	SIXTEENS(ADDABS)

// func foldColumnsSquareNEON(m, n int, y []float64, x []float32, xs int)
TEXT ·foldColumnsSquareNEON(SB), NOSPLIT, $0-72
	SIXTEENS(ADDSQUARE)

// func foldColumnsProdNEON(m, n int, y []float64, x []float32, xs int)
TEXT ·foldColumnsProdNEON(SB), NOSPLIT, $0-72
	SIXTEENS(ADDPROD)

// func foldColumnsMaxNEON(m, n int, y []float64, x []float32, xs int)
TEXT ·foldColumnsMaxNEON(SB), NOSPLIT, $0-72
	EXTREME16S(ADDMAX)

// func foldColumnsMinNEON(m, n int, y []float64, x []float32, xs int)
TEXT ·foldColumnsMinNEON(SB), NOSPLIT, $0-72
	EXTREME16S(ADDMIN)
