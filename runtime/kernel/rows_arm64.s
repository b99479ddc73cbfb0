//go:build !noasm

#include "textflag.h"
#include "neon_arm64.h"

// The loops over rows. m, n, y, ys, x and xs are in R0 … R5 (strides in bytes), the rest of the row in
// R6 … R8, R11 is 64 bytes on the stack. Sums in float64 have sixteen lanes, V24 … V31: element j of a row
// goes to lane j mod 16, and the lanes are added up as with AVX2, to the same bits.

// func softmaxNEON(m, n int, y []float32, ys int, x []float32, xs int)
TEXT ·softmaxNEON(SB), NOSPLIT, $64-80
	MOVD m+0(FP), R0
	MOVD n+8(FP), R1
	MOVD y_base+16(FP), R2
	MOVD ys+40(FP), R3
	MOVD x_base+48(FP), R4
	MOVD xs+72(FP), R5
	LSL $2, R3
	LSL $2, R5
	MOVD $buf-64(SP), R11
	MOVD $·neonExp(SB), R9
	VLD1 (R9), [V16.S4, V17.S4, V18.S4]
	MOVD $0xff800000, R9
	VDUP R9, V19.S4 // -Inf

row:
	COPYX1(19, 8)
	MOVD R4, R7
	MOVD R1, R8
	CMP $16, R8
	BLT maxpart
max:
	VLD1.P 64(R7), [V0.S4, V1.S4, V2.S4, V3.S4]
	FMAXX(0, 8, 8)
	SUB $16, R8
	CMP $16, R8
	BGE max
maxpart:
	CBZ R8, most
	PART(V19.S4, max8, max4, max2, max1)
	FMAXX(0, 8, 8)
most:
	FMAXS4(9, 8, 8)
	FMAXS4(11, 10, 10)
	FMAXS4(10, 8, 8)
	FMAXPS4(8, 8, 8)
	FMAXPS4(8, 8, 8)
	FMOVS F8, R10

	WIDEZERO
	MOVD R2, R6
	MOVD R4, R7
	MOVD R1, R8
exps:
	CMP $16, R8
	BLT part
	VLD1.P 64(R7), [V0.S4, V1.S4, V2.S4, V3.S4]
exp:
	VDUP R10, V23.S4
	FSUBXC(23, 0, 0)
	DUPS4E(18, 1, 23)
	FMAXXC(23, 0, 0)
	REDUCE(0)
	EXP
	WIDEADD(12) // the padding is e^-Inf
	CMP $16, R8
	BLT putpart
	VST1.P [V12.S4, V13.S4, V14.S4, V15.S4], 64(R6)
	SUBS $16, R8
	BNE exps
	B total
part:
	PART(V19.S4, get8, get4, get2, get1)
	B exp
putpart:
	PUTPART(V12.S4, V13.S4, V14.S4, V15.S4, put8, put4, put2, put1)

total:
	WIDETOTAL
	FMOVD $1.0, F4
	FDIVD F24, F4, F4
	FCVTDS F4, F4
	VDUP V4.S[0], V4.S4
	MOVD R2, R6
	SUBS $16, R1, R8
	BLT scales
scale:
	VLD1 (R6), [V0.S4, V1.S4, V2.S4, V3.S4]
	FMULXC(4, 0, 0)
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R6)
	SUBS $16, R8
	BGE scale
scales:
	ADDS $16, R8
	BEQ next
one:
	FMOVS (R6), F0
	FMULS F4, F0, F0
	FMOVS.P F0, 4(R6)
	SUBS $1, R8
	BNE one
next:
	ADD R3, R2
	ADD R5, R4
	SUBS $1, R0
	BNE row
	RET

// func layerNormNEON(m, n int, y []float32, ys int, x []float32, xs int, scale, bias []float32, epsilon float64, stats []float64)
TEXT ·layerNormNEON(SB), NOSPLIT, $64-160
	MOVD m+0(FP), R0
	MOVD n+8(FP), R1
	MOVD y_base+16(FP), R2
	MOVD ys+40(FP), R3
	MOVD x_base+48(FP), R4
	MOVD xs+72(FP), R5
	LSL $2, R3
	LSL $2, R5
	MOVD stats_base+136(FP), R14
	MOVD $buf-64(SP), R11
	VEOR V19.B16, V19.B16, V19.B16
	SCVTFD R1, F18 // n

row:
	WIDEZERO
	MOVD R4, R7
	MOVD R1, R8
	CMP $16, R8
	BLT sumpart
sum:
	VLD1.P 64(R7), [V0.S4, V1.S4, V2.S4, V3.S4]
	WIDEADD(0)
	SUB $16, R8
	CMP $16, R8
	BGE sum
sumpart:
	CBZ R8, mean
	PART(V19.S4, sum8, sum4, sum2, sum1)
	WIDEADD(0)
mean: // in two parts, V16 and V17: x less the first is exact where it matters
	WIDETOTAL
	FDIVD F18, F24, F17
	FMOVD F17, (R14)
	FCVTDS F17, F16
	FCVTSD F16, F15
	FSUBD F15, F17, F17
	FCVTDS F17, F17
	VDUP V16.S[0], V16.S4
	VDUP V17.S[0], V17.S4

	WIDEZERO
	MOVD R4, R7
	MOVD R1, R8
	CMP $16, R8
	BLT squarepart
square:
	VLD1.P 64(R7), [V0.S4, V1.S4, V2.S4, V3.S4]
	FSUBXC(16, 0, 0)
	FSUBXC(17, 0, 0)
	WIDESQUARE(0)
	SUB $16, R8
	CMP $16, R8
	BGE square
squarepart:
	CBZ R8, variance
	PART(V19.S4, square8, square4, square2, square1)
	FSUBXC(16, 0, 0)
	FSUBXC(17, 0, 0)
	MOVD $·neonMask+64(SB), R12
	SUB R8<<2, R12
	VLD1 (R12), [V4.S4, V5.S4, V6.S4, V7.S4]
	ANDX(4, 0, 0)
	WIDESQUARE(0)
variance:
	WIDETOTAL
	FDIVD F18, F24, F24
	FMOVD epsilon+128(FP), F4
	FADDD F4, F24, F24
	FSQRTD F24, F24
	FMOVD $1.0, F4
	FDIVD F24, F4, F4
	FMOVD F4, 8(R14)
	FCVTDS F4, F4
	VDUP V4.S[0], V15.S4

	MOVD R2, R6
	MOVD R4, R7
	MOVD scale_base+80(FP), R9
	MOVD bias_base+104(FP), R10
	SUBS $16, R1, R8
	CBZ R10, plain
	BLT biases
biased:
	VLD1.P 64(R7), [V0.S4, V1.S4, V2.S4, V3.S4]
	VLD1.P 64(R9), [V4.S4, V5.S4, V6.S4, V7.S4]
	VLD1.P 64(R10), [V8.S4, V9.S4, V10.S4, V11.S4]
	FSUBXC(16, 0, 0)
	FSUBXC(17, 0, 0)
	FMULXC(15, 0, 0)
	FMLAX(4, 0, 8)
	VST1.P [V8.S4, V9.S4, V10.S4, V11.S4], 64(R6)
	SUBS $16, R8
	BGE biased
biases:
	ADDS $16, R8
	BEQ next
bias:
	FMOVS.P 4(R7), F0
	FMOVS.P 4(R9), F4
	FMOVS.P 4(R10), F8
	FSUBS F16, F0, F0
	FSUBS F17, F0, F0
	FMULS F15, F0, F0
	FMADDS F4, F8, F0, F8 // F0·F4 + F8
	FMOVS.P F8, 4(R6)
	SUBS $1, R8
	BNE bias
	B next

plain:
	BLT plains
plain16:
	VLD1.P 64(R7), [V0.S4, V1.S4, V2.S4, V3.S4]
	VLD1.P 64(R9), [V4.S4, V5.S4, V6.S4, V7.S4]
	FSUBXC(16, 0, 0)
	FSUBXC(17, 0, 0)
	FMULXC(15, 0, 0)
	FMULX(4, 0, 0)
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R6)
	SUBS $16, R8
	BGE plain16
plains:
	ADDS $16, R8
	BEQ next
plain1:
	FMOVS.P 4(R7), F0
	FMOVS.P 4(R9), F4
	FSUBS F16, F0, F0
	FSUBS F17, F0, F0
	FMULS F15, F0, F0
	FMULS F4, F0, F0
	FMOVS.P F0, 4(R6)
	SUBS $1, R8
	BNE plain1

next:
	ADD R3, R2
	ADD R5, R4
	ADD $16, R14
	SUBS $1, R0
	BNE row
	RET
