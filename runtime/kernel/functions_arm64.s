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

// The logarithm of V0 …, a positive normal number, with neonLog in V19 … V22. LOGPARTS finds its n, V4 …, and
// f, V8 …; LOGSERIES the series' part of ln(1+f), V28 …, and f², V0 …; LOGREST the whole in V28 ….
#define LOGCONSTANTS \
	MOVD $·neonLog(SB), R9; \
	VLD1 (R9), [V19.S4, V20.S4, V21.S4, V22.S4]

#define LOGPARTS \
	DUPS4E(21, 1, 23); \
	SUBXC(23, 0, 4); \
	SSHRX(23, 4, 4); \
	SHLX(23, 4, 8); \
	SUBX(8, 0, 8); \
	SCVTFX(4, 4); \
	ONES4(23); \
	FSUBXC(23, 8, 8)

#define LOGSERIES \
	HORNERX1(19, 0, 8, 0); \
	HORNERX(19, 2, 0, 8, 28); \
	HORNERX(19, 3, 28, 8, 0); \
	HORNERX(20, 0, 0, 8, 28); \
	HORNERX(20, 1, 28, 8, 0); \
	HORNERX(20, 2, 0, 8, 28); \
	HORNERX(20, 3, 28, 8, 0); \
	HORNERX(21, 0, 0, 8, 28); \
	FMULX(8, 8, 0); \
	FMULX(0, 28, 28); \
	FMULX(8, 28, 28)

#define LOGREST \
	FMLAXE(16, 2, 4, 28); \
	FMLSXE(22, 1, 0, 28); \
	FADDX(28, 8, 28); \
	FMLAXE(16, 1, 4, 28)

// LOG1P is ln(1+t), t ≥ 0 in V12 …, in V28 …: what 1+t lost in rounding comes back by its derivative.
#define LOG1P \
	ONES4(23); \
	FADDXC(23, 12, 0); \
	FSUBXC(23, 0, 4); \
	FSUBX(4, 12, 4); \
	FDIVX(0, 4, 12); \
	LOGPARTS; \
	LOGSERIES; \
	FADDX(12, 28, 28); \
	LOGREST

// FINITE is r where V24 … is below +Inf, else that itself, in V0 ….
#define FINITE(r) \
	DUPS4E(22, 2, 23); \
	FABSS4(23, 23); \
	FCMLTXC(23, 24, 4); \
	BSLX(24, r, 4); \
	COPYX(4, 0)

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

// func absNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)
TEXT ·absNEON(SB), NOSPLIT, $64-88
	UNARY
	BEGIN
	FABSX(0, 0)
	END

// func negNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)
TEXT ·negNEON(SB), NOSPLIT, $64-88
	UNARY
	BEGIN
	FNEGX(0, 0)
	END

// func signNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)
TEXT ·signNEON(SB), NOSPLIT, $64-88
	UNARY
	ONES4(16)
	FNEGS4(16, 17)
	BEGIN
	FCMGT0X(0, 4)
	FCMLTX(0, 8)
	BITCX(4, 16, 0)
	BITCX(8, 17, 0)
	END

// func floorNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)
TEXT ·floorNEON(SB), NOSPLIT, $64-88
	UNARY
	BEGIN
	FRINTMX(0, 0)
	END

// func ceilNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)
TEXT ·ceilNEON(SB), NOSPLIT, $64-88
	UNARY
	BEGIN
	FRINTPX(0, 0)
	END

// func roundNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)
TEXT ·roundNEON(SB), NOSPLIT, $64-88
	UNARY
	BEGIN
	FRINTNX(0, 0)
	END

// func sqrtNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)
TEXT ·sqrtNEON(SB), NOSPLIT, $64-88
	UNARY
	BEGIN
	FSQRTX(0, 0)
	END

// func reciprocalNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)
TEXT ·reciprocalNEON(SB), NOSPLIT, $64-88
	UNARY
	ONES4(16)
	BEGIN
	FDIVCX(16, 0, 0)
	END

// func softsignNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)
TEXT ·softsignNEON(SB), NOSPLIT, $64-88
	UNARY
	ONES4(16)
	BEGIN
	FABSX(0, 4)
	FADDXC(16, 4, 4)
	FDIVX(4, 0, 0)
	END

// func thresholdNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)
TEXT ·thresholdNEON(SB), NOSPLIT, $64-88
	UNARY
	PARAMS
	BEGIN
	FCMGTXC(20, 0, 4)
	ANDX(4, 0, 0)
	END

// func eluNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)
TEXT ·eluNEON(SB), NOSPLIT, $64-88
	UNARY
	CONSTANTS
	PARAMS
	BEGIN
	COPYX(0, 24)
	FMULXC(21, 0, 0)
	DUPS4E(18, 3, 23)
	FMAXXC(23, 0, 0)
	REDUCE(0)
	FMLSXE(16, 1, 8, 0)
	FMLSXE(16, 2, 8, 0)
	HORNERX1(17, 0, 0, 8)
	HORNERX(17, 2, 8, 0, 12)
	HORNERX(17, 3, 12, 0, 8)
	HORNERX(18, 0, 8, 0, 12)
	ONEX(8)
	FMLAX(12, 0, 8)
	FMULX(8, 0, 12)
	SHLX(23, 4, 4)
	BIASS4(23)
	SHLS4(23, 23, 23)
	ADDXC(23, 4, 4)
	ONES4(23)
	FSUBXC(23, 4, 8)
	FMLAX(12, 4, 8)
	FMULXC(20, 8, 8)
	CMLTX(24, 4)
	BSLX(24, 8, 4)
	COPYX(4, 0)
	END

// func logNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)
TEXT ·logNEON(SB), NOSPLIT, $64-88
	UNARY
	CONSTANTS
	LOGCONSTANTS
	BEGIN
	COPYX(0, 24)
	DUPS4E(21, 2, 23)
	FCMLTXC(23, 0, 4)
	FMULXE(21, 3, 0, 8)
	BITX(4, 8, 0)
	DUPS4E(22, 0, 23)
	ANDXC(23, 4, 12)
	LOGPARTS
	FSUBX(12, 4, 4)
	LOGSERIES
	LOGREST
	FCMEQ0X(24, 4)
	DUPS4E(22, 2, 23)
	BITCX(4, 23, 28)
	FCMLTX(24, 4)
	DUPS4E(22, 3, 23)
	BITCX(4, 23, 28)
	FINITE(28)
	END

// func log1pNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)
TEXT ·log1pNEON(SB), NOSPLIT, $64-88
	UNARY
	CONSTANTS
	LOGCONSTANTS
	BEGIN
	COPYX(0, 24)
	COPYX(0, 12)
	LOG1P
	FINITE(28)
	END

// func softplusNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)
TEXT ·softplusNEON(SB), NOSPLIT, $64-88
	UNARY
	CONSTANTS
	LOGCONSTANTS
	BEGIN
	COPYX(0, 24)
	MINUSX(0)
	DUPS4E(18, 1, 23)
	FMAXXC(23, 0, 0)
	REDUCE(0)
	EXP
	LOG1P
	VEOR V23.B16, V23.B16, V23.B16
	FMAXXC(23, 24, 0)
	FADDX(28, 0, 0)
	END

// func mishNEON(m, n int, y []float32, ys int, x []float32, xs int, alpha, beta float32)
TEXT ·mishNEON(SB), NOSPLIT, $64-88
	UNARY
	CONSTANTS
	MOVD $·neonMish(SB), R9
	VLD1 (R9), [V19.S4]
	DUPS4E(19, 0, 20)
	DUPS4E(19, 1, 21)
	BEGIN
	COPYX(0, 24)
	FMINXC(20, 0, 0)
	DUPS4E(18, 1, 23)
	FMAXXC(23, 0, 0)
	REDUCE(0)
	EXP
	FADDXC(21, 12, 0)
	FMULX(0, 12, 12)
	FADDXC(21, 12, 0)
	FDIVX(0, 12, 12)
	FMULX(24, 12, 0)
	END
