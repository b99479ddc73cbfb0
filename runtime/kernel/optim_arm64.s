//go:build !noasm

#include "textflag.h"
#include "neon_arm64.h"

// The loops of training, of n elements, a positive multiple of 16: those of _asm/optim. None fuses a
// multiplication with an addition. The slices are at R1 … R4, their elements in V0 …, V4 …, V8 … and V12 …;
// constants are lanes of V16 … V18. V20 … and V24 … are free.

#define GET(p, a, b, c, d) VLD1 (p), [a, b, c, d]
#define PUT(p, a, b, c, d) VST1.P [a, b, c, d], 64(p)
#define GET0(p) GET(p, V0.S4, V1.S4, V2.S4, V3.S4)
#define GET4(p) GET(p, V4.S4, V5.S4, V6.S4, V7.S4)
#define GET8(p) GET(p, V8.S4, V9.S4, V10.S4, V11.S4)
#define GET12(p) GET(p, V12.S4, V13.S4, V14.S4, V15.S4)
#define PUT0(p) PUT(p, V0.S4, V1.S4, V2.S4, V3.S4)
#define PUT8(p) PUT(p, V8.S4, V9.S4, V10.S4, V11.S4)
#define PUT12(p) PUT(p, V12.S4, V13.S4, V14.S4, V15.S4)

// CONSTANTS are those at R9: ten of twelve lanes.
#define CONSTANTS \
	VLD1.P 32(R9), [V16.S4, V17.S4]; \
	VLD1 (R9), [V18.D1]

#define LOOP \
	SUBS $16, R0; \
	BNE loop; \
	RET

// GRADIENT is w in V0 … and c0·dw + c1·w in V4 ….
#define GRADIENT \
	GET0(R1); \
	GET4(R2); \
	ADD $64, R2; \
	FMULXE(16, 0, 4, 4); \
	FMULXE(16, 1, 0, 20); \
	FADDX(20, 4, 4)

// MOMENTUM is c3·m + g in V8 …, which goes to m.
#define MOMENTUM \
	GET8(R3); \
	FMULXE(16, 3, 8, 8); \
	FADDX(4, 8, 8); \
	PUT8(R3)

// STEP moves w by c2 times what is in V8 ….
#define STEP \
	FMULXE(16, 2, 8, 8); \
	FSUBX(8, 0, 0); \
	PUT0(R1)

// func adamNEON(n int, w, dw, m, s []float32, c *[10]float32)
TEXT ·adamNEON(SB), NOSPLIT, $0-112
	MOVD n+0(FP), R0
	MOVD w_base+8(FP), R1
	MOVD dw_base+32(FP), R2
	MOVD m_base+56(FP), R3
	MOVD s_base+80(FP), R4
	MOVD c+104(FP), R9
	CONSTANTS
	DUPS4E(17, 3, 19) // ε
loop:
	GRADIENT

	GET8(R3)
	FMULXE(16, 2, 8, 8)
	FMULXE(16, 3, 4, 20)
	FADDX(20, 8, 8)
	PUT8(R3)

	GET12(R4)
	FMULXE(17, 0, 12, 12)
	FMULX(4, 4, 4)
	FMULXE(17, 1, 4, 4)
	FADDX(4, 12, 12)
	PUT12(R4)

	FSQRTX(12, 12)
	FMULXE(17, 2, 12, 12)
	FADDXC(19, 12, 12)
	FMULXE(18, 0, 8, 8)
	FDIVX(12, 8, 8)
	FMULXE(18, 1, 0, 0)
	FSUBX(8, 0, 0)
	PUT0(R1)
	LOOP

// func sgdNEON(n int, w, dw []float32, c *[10]float32)
TEXT ·sgdNEON(SB), NOSPLIT, $0-64
	MOVD n+0(FP), R0
	MOVD w_base+8(FP), R1
	MOVD dw_base+32(FP), R2
	MOVD c+56(FP), R9
	CONSTANTS
loop:
	GRADIENT
	COPYX(4, 8)
	STEP
	LOOP

// func momentumNEON(n int, w, dw, m []float32, c *[10]float32)
TEXT ·momentumNEON(SB), NOSPLIT, $0-88
	MOVD n+0(FP), R0
	MOVD w_base+8(FP), R1
	MOVD dw_base+32(FP), R2
	MOVD m_base+56(FP), R3
	MOVD c+80(FP), R9
	CONSTANTS
loop:
	GRADIENT
	MOMENTUM
	STEP
	LOOP

// func nesterovNEON(n int, w, dw, m []float32, c *[10]float32)
TEXT ·nesterovNEON(SB), NOSPLIT, $0-88
	MOVD n+0(FP), R0
	MOVD w_base+8(FP), R1
	MOVD dw_base+32(FP), R2
	MOVD m_base+56(FP), R3
	MOVD c+80(FP), R9
	CONSTANTS
loop:
	GRADIENT
	MOMENTUM
	FMULXE(16, 3, 8, 8)
	FADDX(4, 8, 8)
	STEP
	LOOP

// func axpyNEON(n int, y, x []float32, c *[10]float32)
TEXT ·axpyNEON(SB), NOSPLIT, $0-64
	MOVD n+0(FP), R0
	MOVD y_base+8(FP), R1
	MOVD x_base+32(FP), R2
	MOVD c+56(FP), R9
	CONSTANTS
loop:
	GET0(R1)
	GET4(R2)
	ADD $64, R2
	FMULXE(16, 0, 4, 4)
	FADDX(4, 0, 0)
	PUT0(R1)
	LOOP

// func blendNEON(n int, y, x []float32, c *[10]float32)
TEXT ·blendNEON(SB), NOSPLIT, $0-64
	MOVD n+0(FP), R0
	MOVD y_base+8(FP), R1
	MOVD x_base+32(FP), R2
	MOVD c+56(FP), R9
	CONSTANTS
loop:
	GET0(R1)
	GET4(R2)
	ADD $64, R2
	FSUBX(0, 4, 4)
	FMULXE(16, 0, 4, 4)
	FADDX(4, 0, 0)
	PUT0(R1)
	LOOP

// SQUARES adds the squares of x and x+1 to the sums from s on.
#define SQUARES(x, s) \
	FCVTLS2(x, 4); \
	FCVTLS4(x, 5); \
	FCVTLS2((x)+1, 6); \
	FCVTLS4((x)+1, 7); \
	FMULD2(4, 4, 4); \
	FMULD2(5, 5, 5); \
	FMULD2(6, 6, 6); \
	FMULD2(7, 7, 7); \
	FADDD2(4, s, s); \
	FADDD2(5, (s)+1, (s)+1); \
	FADDD2(6, (s)+2, (s)+2); \
	FADDD2(7, (s)+3, (s)+3)

// func squaresNEON(n int, x []float32, sums *[16]float64)
TEXT ·squaresNEON(SB), NOSPLIT, $0-40
	MOVD n+0(FP), R0
	MOVD x_base+8(FP), R1
	MOVD sums+32(FP), R2
	ADD $64, R2, R3
	VLD1 (R2), [V24.D2, V25.D2, V26.D2, V27.D2]
	VLD1 (R3), [V28.D2, V29.D2, V30.D2, V31.D2]
loop:
	VLD1.P 64(R1), [V0.S4, V1.S4, V2.S4, V3.S4]
	SQUARES(0, 24)
	SQUARES(2, 28)
	SUBS $16, R0
	BNE loop
	VST1 [V24.D2, V25.D2, V26.D2, V27.D2], (R2)
	VST1 [V28.D2, V29.D2, V30.D2, V31.D2], (R3)
	RET

// func biasNEON(n int, y, x, b []float32)
TEXT ·biasNEON(SB), NOSPLIT, $0-80
	MOVD n+0(FP), R0
	MOVD y_base+8(FP), R1
	MOVD x_base+32(FP), R2
	MOVD b_base+56(FP), R3
loop:
	GET0(R2)
	GET4(R3)
	ADD $64, R2
	ADD $64, R3
	FADDX(4, 0, 0)
	PUT0(R1)
	LOOP

// func biasReluNEON(n int, y, x, b []float32)
TEXT ·biasReluNEON(SB), NOSPLIT, $0-80
	MOVD n+0(FP), R0
	MOVD y_base+8(FP), R1
	MOVD x_base+32(FP), R2
	MOVD b_base+56(FP), R3
loop:
	GET0(R2)
	GET4(R3)
	ADD $64, R2
	ADD $64, R3
	FADDX(4, 0, 0)
	FCMLTX(0, 4) // -0 stays, as NaN does
	BICX(4, 0, 0)
	PUT0(R1)
	LOOP

// GATE is dy where y is above 0, else 0, in V0 ….
#define GATE \
	GET0(R2); \
	GET4(R3); \
	ADD $64, R2; \
	ADD $64, R3; \
	FCMGT0X(4, 4); \
	ANDX(4, 0, 0)

// func gateNEON(n int, dx, dy, y []float32)
TEXT ·gateNEON(SB), NOSPLIT, $0-80
	MOVD n+0(FP), R0
	MOVD dx_base+8(FP), R1
	MOVD dy_base+32(FP), R2
	MOVD y_base+56(FP), R3
loop:
	GATE
	PUT0(R1)
	LOOP

// func gateAddNEON(n int, dx, dy, y []float32)
TEXT ·gateAddNEON(SB), NOSPLIT, $0-80
	MOVD n+0(FP), R0
	MOVD dx_base+8(FP), R1
	MOVD dy_base+32(FP), R2
	MOVD y_base+56(FP), R3
loop:
	GATE
	GET4(R1)
	FADDX(4, 0, 0)
	PUT0(R1)
	LOOP

// func gateSumNEON(n int, dx, dy, y, db []float32)
TEXT ·gateSumNEON(SB), NOSPLIT, $0-104
	MOVD n+0(FP), R0
	MOVD dx_base+8(FP), R1
	MOVD dy_base+32(FP), R2
	MOVD y_base+56(FP), R3
	MOVD db_base+80(FP), R4
loop:
	GATE
	PUT0(R1)
	GET8(R4)
	FADDX(8, 0, 0)
	PUT0(R4)
	LOOP
