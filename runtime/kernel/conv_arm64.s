//go:build !noasm

#include "textflag.h"
#include "neon_arm64.h"

// Depthwise convolutions: four rows of the output by sixteen columns, V0 … V15. The rows share what they
// read of X, V24 … V27. The weights, by rows of the window, and the bias are lanes from V16 on.

#define WEIGHTS3 \
	VLD1.P 32(R5), [V16.S4, V17.S4]; \
	VLD1 (R5), [V18.D1]
#define WEIGHTS5 \
	VLD1.P 64(R5), [V16.S4, V17.S4, V18.S4, V19.S4]; \
	VLD1.P 32(R5), [V20.S4, V21.S4]; \
	VLD1 (R5), [V22.D1]

// BIAS starts sums.
#define BIAS3(r) DUPXE(18, 1, r)
#define BIAS5(r) DUPXE(22, 1, r)

// TERM adds the elements at hand, for column x of the window, times its weight in row y to row i of the
// output.
#define TERM3(x, y, i) FMLAXE(16+((y)*3+(x))/4, ((y)*3+(x))%4, 24, 4*(i))
#define TERM5(x, y, i) FMLAXE(16+((y)*5+(x))/4, ((y)*5+(x))%4, 24, 4*(i))

// TAPS goes along a row of X for all columns of the window: the elements are at R6, or in turn at R6 and R7
// where columns of the output lie two apart.
#define TAP(USE, x, r, off) ADD $off, R(r), R20; LOADX(20, 24); USE(x)
#define TAPS3x1(USE) TAP(USE, 0, 6, 0); TAP(USE, 1, 6, 4); TAP(USE, 2, 6, 8)
#define TAPS3x2(USE) TAP(USE, 0, 6, 0); TAP(USE, 1, 7, 0); TAP(USE, 2, 6, 4)
#define TAPS5x1(USE) TAPS3x1(USE); TAP(USE, 3, 6, 12); TAP(USE, 4, 6, 16)
#define TAPS5x2(USE) TAPS3x2(USE); TAP(USE, 3, 7, 4); TAP(USE, 4, 6, 8)
#define DOWN ADD R3, R6; ADD R3, R7

// USEkxsRr is what row r of X is for, k being the window and s its step down: which rows of the window for
// which rows of the output.
#define USE3x1R0(x) TERM3(x, 0, 0)
#define USE3x1R1(x) TERM3(x, 1, 0); TERM3(x, 0, 1)
#define USE3x1R2(x) TERM3(x, 2, 0); TERM3(x, 1, 1); TERM3(x, 0, 2)
#define USE3x1R3(x) TERM3(x, 2, 1); TERM3(x, 1, 2); TERM3(x, 0, 3)
#define USE3x1R4(x) TERM3(x, 2, 2); TERM3(x, 1, 3)
#define USE3x1R5(x) TERM3(x, 2, 3)
#define BODY3x1(TAPS) TAPS(USE3x1R0); DOWN; TAPS(USE3x1R1); DOWN; TAPS(USE3x1R2); DOWN; TAPS(USE3x1R3); DOWN; TAPS(USE3x1R4); DOWN; TAPS(USE3x1R5)

#define USE3x2R0(x) TERM3(x, 0, 0)
#define USE3x2R1(x) TERM3(x, 1, 0)
#define USE3x2R2(x) TERM3(x, 2, 0); TERM3(x, 0, 1)
#define USE3x2R3(x) TERM3(x, 1, 1)
#define USE3x2R4(x) TERM3(x, 2, 1); TERM3(x, 0, 2)
#define USE3x2R5(x) TERM3(x, 1, 2)
#define USE3x2R6(x) TERM3(x, 2, 2); TERM3(x, 0, 3)
#define USE3x2R7(x) TERM3(x, 1, 3)
#define USE3x2R8(x) TERM3(x, 2, 3)
#define BODY3x2(TAPS) TAPS(USE3x2R0); DOWN; TAPS(USE3x2R1); DOWN; TAPS(USE3x2R2); DOWN; TAPS(USE3x2R3); DOWN; TAPS(USE3x2R4); DOWN; TAPS(USE3x2R5); DOWN; TAPS(USE3x2R6); DOWN; TAPS(USE3x2R7); DOWN; TAPS(USE3x2R8)

#define USE5x1R0(x) TERM5(x, 0, 0)
#define USE5x1R1(x) TERM5(x, 1, 0); TERM5(x, 0, 1)
#define USE5x1R2(x) TERM5(x, 2, 0); TERM5(x, 1, 1); TERM5(x, 0, 2)
#define USE5x1R3(x) TERM5(x, 3, 0); TERM5(x, 2, 1); TERM5(x, 1, 2); TERM5(x, 0, 3)
#define USE5x1R4(x) TERM5(x, 4, 0); TERM5(x, 3, 1); TERM5(x, 2, 2); TERM5(x, 1, 3)
#define USE5x1R5(x) TERM5(x, 4, 1); TERM5(x, 3, 2); TERM5(x, 2, 3)
#define USE5x1R6(x) TERM5(x, 4, 2); TERM5(x, 3, 3)
#define USE5x1R7(x) TERM5(x, 4, 3)
#define BODY5x1(TAPS) TAPS(USE5x1R0); DOWN; TAPS(USE5x1R1); DOWN; TAPS(USE5x1R2); DOWN; TAPS(USE5x1R3); DOWN; TAPS(USE5x1R4); DOWN; TAPS(USE5x1R5); DOWN; TAPS(USE5x1R6); DOWN; TAPS(USE5x1R7)

#define USE5x2R0(x) TERM5(x, 0, 0)
#define USE5x2R1(x) TERM5(x, 1, 0)
#define USE5x2R2(x) TERM5(x, 2, 0); TERM5(x, 0, 1)
#define USE5x2R3(x) TERM5(x, 3, 0); TERM5(x, 1, 1)
#define USE5x2R4(x) TERM5(x, 4, 0); TERM5(x, 2, 1); TERM5(x, 0, 2)
#define USE5x2R5(x) TERM5(x, 3, 1); TERM5(x, 1, 2)
#define USE5x2R6(x) TERM5(x, 4, 1); TERM5(x, 2, 2); TERM5(x, 0, 3)
#define USE5x2R7(x) TERM5(x, 3, 2); TERM5(x, 1, 3)
#define USE5x2R8(x) TERM5(x, 4, 2); TERM5(x, 2, 3)
#define USE5x2R9(x) TERM5(x, 3, 3)
#define USE5x2R10(x) TERM5(x, 4, 3)
#define BODY5x2(TAPS) TAPS(USE5x2R0); DOWN; TAPS(USE5x2R1); DOWN; TAPS(USE5x2R2); DOWN; TAPS(USE5x2R3); DOWN; TAPS(USE5x2R4); DOWN; TAPS(USE5x2R5); DOWN; TAPS(USE5x2R6); DOWN; TAPS(USE5x2R7); DOWN; TAPS(USE5x2R8); DOWN; TAPS(USE5x2R9); DOWN; TAPS(USE5x2R10)

#define DEPTH(WEIGHTS, BIAS, BODY, shift) \
	MOVD rows+0(FP), R0; \
	MOVD cols+8(FP), R1; \
	MOVD x_base+16(FP), R2; \
	MOVD xs+40(FP), R3; \
	MOVD phase+48(FP), R4; \
	MOVD w_base+56(FP), R5; \
	MOVD y_base+80(FP), R8; \
	MOVD ys+104(FP), R9; \
	LSL $2, R3; \
	LSL $2, R4; \
	LSL $2, R9; \
	WEIGHTS; \
rows: \
	MOVD R1, R19; \
	MOVD R2, R12; \
	MOVD R8, R13; \
cols: \
	BIAS(0); \
	BIAS(4); \
	BIAS(8); \
	BIAS(12); \
	MOVD R12, R6; \
	ADD R4, R12, R7; \
	BODY; \
	CMP $16, R19; \
	BLT part; \
	MOVD R13, R14; \
	STOREX(14, 0); \
	CMP $2, R0; \
	BLT stored; \
	ADD R9, R14; \
	STOREX(14, 4); \
	BEQ stored; \
	ADD R9, R14; \
	STOREX(14, 8); \
	CMP $3, R0; \
	BEQ stored; \
	ADD R9, R14; \
	STOREX(14, 12); \
stored: \
	ADD $64, R12; \
	ADD $64, R13; \
	SUBS $16, R19; \
	BNE cols; \
	B next; \
part: \
	MOVD $buf-256(SP), R14; \
	STOREX(14, 0); \
	ADD $64, R14, R15; \
	STOREX(15, 4); \
	ADD $64, R15; \
	STOREX(15, 8); \
	ADD $64, R15; \
	STOREX(15, 12); \
	MOVD $4, R15; \
	CMP R15, R0; \
	CSEL LT, R0, R15, R15; \
scatter: \
	MOVD R14, R20; \
	MOVD R13, R21; \
	COPY(eight, four, two, one); \
	ADD $64, R14; \
	ADD R9, R13; \
	SUBS $1, R15; \
	BNE scatter; \
next: \
	ADD R3<<shift, R2; \
	ADD R9<<2, R8; \
	SUBS $4, R0; \
	BGT rows; \
	RET

// func depth3x11NEON(rows, cols int, x []float32, xs, phase int, w []float32, y []float32, ys int)
TEXT ·depth3x11NEON(SB), NOSPLIT, $256-112
	DEPTH(WEIGHTS3, BIAS3, BODY3x1(TAPS3x1), 2)

// func depth3x12NEON(rows, cols int, x []float32, xs, phase int, w []float32, y []float32, ys int)
TEXT ·depth3x12NEON(SB), NOSPLIT, $256-112
	DEPTH(WEIGHTS3, BIAS3, BODY3x2(TAPS3x1), 3)

// func depth3x21NEON(rows, cols int, x []float32, xs, phase int, w []float32, y []float32, ys int)
TEXT ·depth3x21NEON(SB), NOSPLIT, $256-112
	DEPTH(WEIGHTS3, BIAS3, BODY3x1(TAPS3x2), 2)

// func depth3x22NEON(rows, cols int, x []float32, xs, phase int, w []float32, y []float32, ys int)
TEXT ·depth3x22NEON(SB), NOSPLIT, $256-112
	DEPTH(WEIGHTS3, BIAS3, BODY3x2(TAPS3x2), 3)

// func depth5x11NEON(rows, cols int, x []float32, xs, phase int, w []float32, y []float32, ys int)
TEXT ·depth5x11NEON(SB), NOSPLIT, $256-112
	DEPTH(WEIGHTS5, BIAS5, BODY5x1(TAPS5x1), 2)

// func depth5x12NEON(rows, cols int, x []float32, xs, phase int, w []float32, y []float32, ys int)
TEXT ·depth5x12NEON(SB), NOSPLIT, $256-112
	DEPTH(WEIGHTS5, BIAS5, BODY5x2(TAPS5x1), 3)

// func depth5x21NEON(rows, cols int, x []float32, xs, phase int, w []float32, y []float32, ys int)
TEXT ·depth5x21NEON(SB), NOSPLIT, $256-112
	DEPTH(WEIGHTS5, BIAS5, BODY5x1(TAPS5x2), 2)

// func depth5x22NEON(rows, cols int, x []float32, xs, phase int, w []float32, y []float32, ys int)
TEXT ·depth5x22NEON(SB), NOSPLIT, $256-112
	DEPTH(WEIGHTS5, BIAS5, BODY5x2(TAPS5x2), 3)

// func halvesNEON(n int, even, odd, src []float32)
TEXT ·halvesNEON(SB), NOSPLIT, $0-80
	MOVD n+0(FP), R0
	MOVD even_base+8(FP), R1
	MOVD odd_base+32(FP), R2
	MOVD src_base+56(FP), R3
loop:
	VLD2.P 32(R3), [V0.S4, V1.S4]
	VLD2.P 32(R3), [V2.S4, V3.S4]
	VST1.P [V0.S4], 16(R1)
	VST1.P [V2.S4], 16(R1)
	VST1.P [V1.S4], 16(R2)
	VST1.P [V3.S4], 16(R2)
	SUBS $8, R0
	BNE loop
	RET

// func joinedNEON(n int, dst, even, odd []float32)
TEXT ·joinedNEON(SB), NOSPLIT, $0-80
	MOVD n+0(FP), R0
	MOVD dst_base+8(FP), R1
	MOVD even_base+32(FP), R2
	MOVD odd_base+56(FP), R3
loop:
	VLD1.P 32(R2), [V0.S4, V1.S4]
	VLD1.P 32(R3), [V2.S4, V3.S4]
	VORR V1.B16, V1.B16, V4.B16
	VORR V2.B16, V2.B16, V1.B16
	VORR V3.B16, V3.B16, V5.B16
	VST2.P [V0.S4, V1.S4], 32(R1)
	VST2.P [V4.S4, V5.S4], 32(R1)
	SUBS $8, R0
	BNE loop
	RET
