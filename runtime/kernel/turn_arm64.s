//go:build !noasm

#include "textflag.h"

// Transposes of squares, in a loop along their rows: four rows of four elements, or two of two. The rows of
// src are at R1 … R4, those of dst from R5 on, R6 apart.

// func turnNEONF32(n int, dst []float32, ds int, src []float32, ss int)
TEXT ·turnNEONF32(SB), NOSPLIT, $0-72
	MOVD n+0(FP), R0
	MOVD dst_base+8(FP), R5
	MOVD ds+32(FP), R6
	MOVD src_base+40(FP), R1
	MOVD ss+64(FP), R7
	LSL $2, R6
	LSL $2, R7
	ADD R7, R1, R2
	ADD R7, R2, R3
	ADD R7, R3, R4
loop:
	VLD1.P 16(R1), [V0.S4]
	VLD1.P 16(R2), [V1.S4]
	VLD1.P 16(R3), [V2.S4]
	VLD1.P 16(R4), [V3.S4]
	VTRN1 V1.S4, V0.S4, V4.S4
	VTRN2 V1.S4, V0.S4, V5.S4
	VTRN1 V3.S4, V2.S4, V6.S4
	VTRN2 V3.S4, V2.S4, V7.S4
	VTRN1 V6.D2, V4.D2, V0.D2
	VTRN1 V7.D2, V5.D2, V1.D2
	VTRN2 V6.D2, V4.D2, V2.D2
	VTRN2 V7.D2, V5.D2, V3.D2
	VST1.P [V0.S4], (R5)(R6)
	VST1.P [V1.S4], (R5)(R6)
	VST1.P [V2.S4], (R5)(R6)
	VST1.P [V3.S4], (R5)(R6)
	SUBS $4, R0
	BNE loop
	RET

// func turnNEONF64(n int, dst []float64, ds int, src []float64, ss int)
TEXT ·turnNEONF64(SB), NOSPLIT, $0-72
	MOVD n+0(FP), R0
	MOVD dst_base+8(FP), R5
	MOVD ds+32(FP), R6
	MOVD src_base+40(FP), R1
	MOVD ss+64(FP), R7
	LSL $3, R6
	LSL $3, R7
	ADD R7, R1, R2
loop:
	VLD1.P 16(R1), [V0.D2]
	VLD1.P 16(R2), [V1.D2]
	VTRN1 V1.D2, V0.D2, V2.D2
	VTRN2 V1.D2, V0.D2, V3.D2
	VST1.P [V2.D2], (R5)(R6)
	VST1.P [V3.D2], (R5)(R6)
	SUBS $2, R0
	BNE loop
	RET
