//go:build !noasm

#include "textflag.h"
#include "neon_arm64.h"

// The operations of two elements: sixteen, then four, then one at a time. m and n are in R0 and R1; z, x
// and y in R2, R4 and R6 with their strides in bytes in R3, R5 and R7; the rest of a row in R8 … R11.

#define ZIP \
	MOVD m+0(FP), R0; \
	MOVD n+8(FP), R1; \
	MOVD z_base+16(FP), R2; \
	MOVD zs+40(FP), R3; \
	MOVD x_base+48(FP), R4; \
	MOVD xs+72(FP), R5; \
	MOVD y_base+80(FP), R6; \
	MOVD ys+104(FP), R7; \
	LSL $2, R3; \
	LSL $2, R5; \
	LSL $2, R7; \
row: \
	MOVD R2, R8; \
	MOVD R4, R9; \
	MOVD R6, R10; \
	MOVD R1, R11

#define NEXT \
	ADD R3, R2; \
	ADD R5, R4; \
	ADD R7, R6; \
	SUBS $1, R0; \
	BNE row; \
	RET

// ROWS is x op y by the operation on groups and on vectors.
#define ROWS(OPX, OP) \
	ZIP; \
	SUBS $16, R11; \
	BLT fours; \
sixteen: \
	VLD1.P 64(R9), [V0.S4, V1.S4, V2.S4, V3.S4]; \
	VLD1.P 64(R10), [V4.S4, V5.S4, V6.S4, V7.S4]; \
	OPX(4, 0, 0); \
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R8); \
	SUBS $16, R11; \
	BGE sixteen; \
fours: \
	ADDS $12, R11; \
	BLT ones; \
four: \
	VLD1.P 16(R9), [V0.S4]; \
	VLD1.P 16(R10), [V4.S4]; \
	OP(4, 0, 0); \
	VST1.P [V0.S4], 16(R8); \
	SUBS $4, R11; \
	BGE four; \
ones: \
	ADDS $4, R11; \
	BEQ next; \
one: \
	FMOVS.P 4(R9), F0; \
	FMOVS.P 4(R10), F4; \
	OP(4, 0, 0); \
	FMOVS.P F0, 4(R8); \
	SUBS $1, R11; \
	BNE one; \
next: \
	NEXT

// SINGLE is the same where one operand, at s, is one element, in V4, and the other, at p, is a row: N op M,
// which are 0, the row's, and 4, or the other way round.
#define SINGLE(s, p, OPX, OP, M, N) \
	ZIP; \
	VLD1R (s), [V4.S4]; \
	SUBS $16, R11; \
	BLT fours; \
sixteen: \
	VLD1.P 64(p), [V0.S4, V1.S4, V2.S4, V3.S4]; \
	OPX(4, 0, 0); \
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R8); \
	SUBS $16, R11; \
	BGE sixteen; \
fours: \
	ADDS $12, R11; \
	BLT ones; \
four: \
	VLD1.P 16(p), [V0.S4]; \
	OP(M, N, 0); \
	VST1.P [V0.S4], 16(R8); \
	SUBS $4, R11; \
	BGE four; \
ones: \
	ADDS $4, R11; \
	BEQ next; \
one: \
	FMOVS.P 4(p), F0; \
	OP(M, N, 0); \
	FMOVS.P F0, 4(R8); \
	SUBS $1, R11; \
	BNE one; \
next: \
	NEXT

// x where x ≥ 0, else x·y. It uses up V8 … V15.
#define SLOPES4(m, n, d) FMULS4(m, n, 8); FCMLTS4(n, 12); BITB16(12, 8, d)
#define SLOPEX(m, n, d) FMULX(m, n, 8); FCMLTX(n, 12); BITX(12, 8, d)
#define SLOPEXC(m, n, d) FMULXC(m, n, 8); FCMLTX(n, 12); BITX(12, 8, d)

// func addNEON(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)
TEXT ·addNEON(SB), NOSPLIT, $0-112
	ROWS(FADDX, FADDS4)

// func addRightNEON(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)
TEXT ·addRightNEON(SB), NOSPLIT, $0-112
	SINGLE(R10, R9, FADDXC, FADDS4, 4, 0)

// func subNEON(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)
TEXT ·subNEON(SB), NOSPLIT, $0-112
	ROWS(FSUBX, FSUBS4)

// func subRightNEON(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)
TEXT ·subRightNEON(SB), NOSPLIT, $0-112
	SINGLE(R10, R9, FSUBXC, FSUBS4, 4, 0)

// func subLeftNEON(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)
TEXT ·subLeftNEON(SB), NOSPLIT, $0-112
	SINGLE(R9, R10, FSUBCX, FSUBS4, 0, 4)

// func mulNEON(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)
TEXT ·mulNEON(SB), NOSPLIT, $0-112
	ROWS(FMULX, FMULS4)

// func mulRightNEON(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)
TEXT ·mulRightNEON(SB), NOSPLIT, $0-112
	SINGLE(R10, R9, FMULXC, FMULS4, 4, 0)

// func divNEON(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)
TEXT ·divNEON(SB), NOSPLIT, $0-112
	ROWS(FDIVX, FDIVS4)

// func divRightNEON(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)
TEXT ·divRightNEON(SB), NOSPLIT, $0-112
	SINGLE(R10, R9, FDIVXC, FDIVS4, 4, 0)

// func divLeftNEON(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)
TEXT ·divLeftNEON(SB), NOSPLIT, $0-112
	SINGLE(R9, R10, FDIVCX, FDIVS4, 0, 4)

// func minNEON(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)
TEXT ·minNEON(SB), NOSPLIT, $0-112
	ROWS(FMINX, FMINS4)

// func minRightNEON(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)
TEXT ·minRightNEON(SB), NOSPLIT, $0-112
	SINGLE(R10, R9, FMINXC, FMINS4, 4, 0)

// func maxNEON(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)
TEXT ·maxNEON(SB), NOSPLIT, $0-112
	ROWS(FMAXX, FMAXS4)

// func maxRightNEON(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)
TEXT ·maxRightNEON(SB), NOSPLIT, $0-112
	SINGLE(R10, R9, FMAXXC, FMAXS4, 4, 0)

// func slopeNEON(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)
TEXT ·slopeNEON(SB), NOSPLIT, $0-112
	ROWS(SLOPEX, SLOPES4)

// func slopeRightNEON(m, n int, z []float32, zs int, x []float32, xs int, y []float32, ys int)
TEXT ·slopeRightNEON(SB), NOSPLIT, $0-112
	SINGLE(R10, R9, SLOPEXC, SLOPES4, 4, 0)
