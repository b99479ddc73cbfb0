//go:build !noasm

#include "textflag.h"
#include "neon_arm64.h"

// The functions of one element, sixteen elements at a time: x comes in V0 … V3 and the result goes out
// there. They are those of _asm/functions.go step by step, so that their bits are AVX2's.
//
// V16 … V18 are neonExp, V19 … V22 the function's own constants, V23 any one of them in all lanes, and the
// other registers groups of four. m, n, y,
// ys, x and xs are in R0 … R5 (strides in bytes), the rest of the row in R6 … R8. The last elements of a
// row go through 64 bytes on the stack, R11.

#define UNARY \
	MOVD m+0(FP), R0; \
	MOVD n+8(FP), R1; \
	MOVD y_base+16(FP), R2; \
	MOVD ys+40(FP), R3; \
	MOVD x_base+48(FP), R4; \
	MOVD xs+72(FP), R5; \
	LSL $2, R3; \
	LSL $2, R5; \
	MOVD $buf-64(SP), R11

// PARAMS puts α in all lanes of V20 and β in those of V21.
#define PARAMS \
	FMOVS alpha+80(FP), F20; \
	FMOVS beta+84(FP), F21; \
	VDUP V20.S[0], V20.S4; \
	VDUP V21.S[0], V21.S4

#define CONSTANTS \
	MOVD $·neonExp(SB), R9; \
	VLD1 (R9), [V16.S4, V17.S4, V18.S4]

#define BEGIN \
row: \
	MOVD R2, R6; \
	MOVD R4, R7; \
	MOVD R1, R8; \
block: \
	CMP $16, R8; \
	BLT part; \
	VLD1.P 64(R7), [V0.S4, V1.S4, V2.S4, V3.S4]; \
f:

#define END \
	CMP $16, R8; \
	BLT putpart; \
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R6); \
	SUBS $16, R8; \
	BNE block; \
next: \
	ADD R3, R2; \
	ADD R5, R4; \
	SUBS $1, R0; \
	BNE row; \
	RET; \
part: \
	VEOR V0.B16, V0.B16, V0.B16; \
	PART(V0.S4, get8, get4, get2, get1); \
	B f; \
putpart: \
	PUTPART(V0.S4, V1.S4, V2.S4, V3.S4, put8, put4, put2, put1) \
	B next

// LOGISTIC is the numerator (V4 …) and the denominator (V12 …) of 1/(1+e⁻ᵘ) of u in V28 …, neither of
// which overflows.
#define LOGISTIC \
	COPYX(28, 0); \
	MINUSX(0); \
	DUPS4E(18, 1, 23); \
	FMAXXC(23, 0, 0); \
	REDUCE(0); \
	EXP; \
	ONES4(0); \
	CMLTX(28, 4); \
	BSLXC(0, 12, 4); \
	FADDXC(0, 12, 12)

// SIGNED gives V4 … the signs of V24 ….
#define SIGNED \
	VEOR V23.B16, V23.B16, V23.B16; \
	MINUSS4(23); \
	BITXC(23, 24, 4)

// func reluNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)
TEXT ·reluNEON(SB), NOSPLIT, $64-88
	UNARY
	VEOR V16.B16, V16.B16, V16.B16
	BEGIN
	FMAXXC(16, 0, 0)
	END

// func leakyReluNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)
TEXT ·leakyReluNEON(SB), NOSPLIT, $64-88
	UNARY
	PARAMS
	BEGIN
	FMULXC(20, 0, 4)
	CMLTX(0, 8)
	BITX(8, 4, 0)
	END

// func clipNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)
TEXT ·clipNEON(SB), NOSPLIT, $64-88
	UNARY
	PARAMS
	BEGIN
	FMAXXC(20, 0, 0)
	FMINXC(21, 0, 0)
	END

// func hardSigmoidNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)
TEXT ·hardSigmoidNEON(SB), NOSPLIT, $64-88
	UNARY
	PARAMS
	VEOR V16.B16, V16.B16, V16.B16
	ONES4(17)
	BEGIN
	FMULXC(20, 0, 0)
	FADDXC(21, 0, 0)
	FMAXXC(16, 0, 0)
	FMINXC(17, 0, 0)
	END

// func hardSwishNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)
TEXT ·hardSwishNEON(SB), NOSPLIT, $64-88
	UNARY
	MOVD $·neonSwish(SB), R9
	VLD1 (R9), [V19.S4]
	DUPS4E(19, 0, 20)
	DUPS4E(19, 1, 21)
	VEOR V16.B16, V16.B16, V16.B16
	ONES4(17)
	BEGIN
	FMULXC(20, 0, 4)
	FADDXC(21, 4, 4)
	FMAXXC(16, 4, 4)
	FMINXC(17, 4, 4)
	FMULX(4, 0, 0)
	END

// func expNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)
TEXT ·expNEON(SB), NOSPLIT, $64-88
	UNARY
	CONSTANTS
	BEGIN
	DUPS4E(18, 2, 23)
	FMINXC(23, 0, 0)
	DUPS4E(18, 1, 23)
	FMAXXC(23, 0, 0)
	REDUCE(0)
	EXP
	COPYX(12, 0)
	END

// func sigmoidNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)
TEXT ·sigmoidNEON(SB), NOSPLIT, $64-88
	UNARY
	CONSTANTS
	BEGIN
	COPYX(0, 28)
	LOGISTIC
	FDIVX(12, 4, 0)
	END

// func siluNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)
TEXT ·siluNEON(SB), NOSPLIT, $64-88
	UNARY
	CONSTANTS
	BEGIN
	COPYX(0, 28)
	LOGISTIC
	FMULX(28, 4, 4)
	FDIVX(12, 4, 0)
	END

// x/(1+e⁻ᵘ), u = 2√(2/π)(x+0.044715x³)
//
// func geluTanhNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)
TEXT ·geluTanhNEON(SB), NOSPLIT, $64-88
	UNARY
	CONSTANTS
	MOVD $·neonGeluTanh(SB), R9
	VLD1 (R9), [V19.S4]
	BEGIN
	COPYX(0, 24)
	FMULX(0, 0, 4)
	HORNERX1(19, 0, 4, 28)
	FMULX(0, 28, 28)
	LOGISTIC
	FMULX(24, 4, 4)
	FDIVX(12, 4, 0)
	END

// The series near 0; beyond, (1−e)/(1+e), e = e^(−2|x|), with the sign of x.
//
// func tanhNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)
TEXT ·tanhNEON(SB), NOSPLIT, $64-88
	UNARY
	CONSTANTS
	MOVD $·neonTanh(SB), R9
	VLD1 (R9), [V19.S4, V20.S4]
	BEGIN
	COPYX(0, 24)
	FMULX(0, 0, 4)
	HORNERX1(19, 0, 4, 8)
	HORNERX(19, 2, 8, 4, 12)
	HORNERX(19, 3, 12, 4, 8)
	HORNERX(20, 0, 8, 4, 12)
	FMULX(4, 12, 12)
	COPYX(24, 28)
	FMLAX(12, 24, 28)

	FABSX(24, 0)
	FMULXE(20, 2, 0, 0)
	DUPS4E(18, 1, 23)
	FMAXXC(23, 0, 0)
	REDUCE(0)
	EXP
	ONES4(0)
	FSUBCX(0, 12, 4)
	FADDXC(0, 12, 12)
	FDIVX(12, 4, 4)
	SIGNED

	FABSX(24, 0)
	DUPS4E(20, 1, 23)
	FCMLTXC(23, 0, 0)
	BSLX(4, 28, 0)
	END

// The series near 0; beyond, 1 − e^series(|x|) with the sign of x.
//
// func erfNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)
TEXT ·erfNEON(SB), NOSPLIT, $64-88
	UNARY
	CONSTANTS
	MOVD $·neonErf(SB), R9
	VLD1 (R9), [V19.S4, V20.S4, V21.S4, V22.S4]
	BEGIN
	COPYX(0, 24)
	FMULX(0, 0, 4)
	HORNERX1(19, 0, 4, 8)
	HORNERX(19, 2, 8, 4, 12)
	HORNERX(19, 3, 12, 4, 8)
	HORNERX(20, 0, 8, 4, 12)
	HORNERX(20, 1, 12, 4, 8)
	COPYX(24, 28)
	FMLAX(8, 24, 28)

	FABSX(24, 0)
	DUPS4E(20, 2, 23)
	FMINXC(23, 0, 0)
	HORNERX1(21, 0, 0, 8)
	HORNERX(21, 2, 8, 0, 12)
	HORNERX(21, 3, 12, 0, 8)
	HORNERX(22, 0, 8, 0, 12)
	HORNERX(22, 1, 12, 0, 8)
	HORNERX(22, 2, 8, 0, 12)
	COPYX(12, 0)
	REDUCE(0)
	EXP
	ONES4(0)
	FSUBCX(0, 12, 4)
	SIGNED

	FABSX(24, 0)
	DUPS4E(20, 3, 23)
	FCMLTXC(23, 0, 0)
	BSLX(4, 28, 0)
	END

// x·Φ(x), where Φ(−t) = e^(−t²/2)·e^series does not cancel, and Φ(t) = 1 − Φ(−t) need not. t is in V12 …
// until the exponential, g, the series without its first term, in V28 ….
//
// func geluNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)
TEXT ·geluNEON(SB), NOSPLIT, $64-88
	UNARY
	CONSTANTS
	MOVD $·neonGelu(SB), R9
	VLD1 (R9), [V19.S4, V20.S4, V21.S4, V22.S4]
	BEGIN
	COPYX(0, 24)
	FABSX(0, 12)
	DUPS4E(22, 1, 23)
	FMINXC(23, 12, 12)
	DUPS4E(22, 2, 23)
	FMINXC(23, 12, 0)
	ONES4(23)
	FSUBXC(23, 0, 0)
	HORNERX1(19, 0, 0, 4)
	HORNERX(19, 2, 4, 0, 8)
	HORNERX(19, 3, 8, 0, 4)
	HORNERX(20, 0, 4, 0, 8)
	HORNERX(20, 1, 8, 0, 4)
	HORNERX(20, 2, 4, 0, 8)
	HORNERX(20, 3, 8, 0, 4)
	HORNERX(21, 0, 4, 0, 8)
	HORNERX(21, 1, 8, 0, 4)
	HORNERX(21, 2, 4, 0, 8)
	HORNERX(21, 3, 8, 0, 4)
	FMULX(0, 4, 28)

	// Find n of u = −t²/2 + first + g.
	DUPS4E(22, 0, 23)
	FADDXC(23, 28, 0)
	FMULX(12, 12, 4)
	FMLAXE(22, 3, 4, 0)
	REDUCE(0)

	// What is left of u: the largest part is exact, and so is what rounding t² lost.
	FMULX(12, 12, 0)
	FMULXE(22, 3, 0, 0)
	FMLSXE(16, 1, 8, 0)
	DUPS4E(22, 0, 23)
	FADDXC(23, 0, 0)
	FADDX(28, 0, 0)
	FMULX(12, 12, 28)
	FMLSX(12, 12, 28)
	FMLSXE(22, 3, 28, 0)
	EXPREST

	ONES4(0)
	FSUBCX(0, 12, 4)
	CMLTX(24, 0)
	BSLX(4, 12, 0)
	FMULX(24, 0, 0)
	END
