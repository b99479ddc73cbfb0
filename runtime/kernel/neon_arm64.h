// Vector instructions that the assembler has no names for, word by word. Registers are given by number,
// the destination comes last, as in all of Go's assembly; comments have the architecture's own names.

// d = n op m, on four lanes. FMAX and FMIN give NaN where one of the two is.
#define FADDS4(m, n, d) WORD $(0x4e20d400 | (m)<<16 | (n)<<5 | (d)) // FADD Vd.4S, Vn.4S, Vm.4S
#define FSUBS4(m, n, d) WORD $(0x4ea0d400 | (m)<<16 | (n)<<5 | (d)) // FSUB
#define FMULS4(m, n, d) WORD $(0x6e20dc00 | (m)<<16 | (n)<<5 | (d)) // FMUL
#define FDIVS4(m, n, d) WORD $(0x6e20fc00 | (m)<<16 | (n)<<5 | (d)) // FDIV
#define FMAXS4(m, n, d) WORD $(0x4e20f400 | (m)<<16 | (n)<<5 | (d)) // FMAX
#define FMINS4(m, n, d) WORD $(0x4ea0f400 | (m)<<16 | (n)<<5 | (d)) // FMIN
#define FMLAS4(m, n, d) WORD $(0x4e20cc00 | (m)<<16 | (n)<<5 | (d)) // FMLA: d += n·m
#define FMLSS4(m, n, d) WORD $(0x4ea0cc00 | (m)<<16 | (n)<<5 | (d)) // FMLS: d -= n·m
#define FCMGTS4(m, n, d) WORD $(0x6ea0e400 | (m)<<16 | (n)<<5 | (d)) // FCMGT: all ones where n > m
#define FMAXPS4(m, n, d) WORD $(0x6e20f400 | (m)<<16 | (n)<<5 | (d)) // FMAXP: of n's pairs, then of m's
#define ADDS4(m, n, d) WORD $(0x4ea08400 | (m)<<16 | (n)<<5 | (d)) // ADD Vd.4S, Vn.4S, Vm.4S
#define SUBS4(m, n, d) WORD $(0x6ea08400 | (m)<<16 | (n)<<5 | (d)) // SUB
#define ANDB16(m, n, d) WORD $(0x4e201c00 | (m)<<16 | (n)<<5 | (d)) // AND Vd.16B, Vn.16B, Vm.16B
#define BICB16(m, n, d) WORD $(0x4e601c00 | (m)<<16 | (n)<<5 | (d)) // BIC: n &^ m
#define ORRB16(m, n, d) WORD $(0x4ea01c00 | (m)<<16 | (n)<<5 | (d)) // ORR
#define BSLB16(m, n, d) WORD $(0x6e601c00 | (m)<<16 | (n)<<5 | (d)) // BSL: d = d&n | m&^d
#define BITB16(m, n, d) WORD $(0x6ea01c00 | (m)<<16 | (n)<<5 | (d)) // BIT: d = n where m is set

// d = op n.
#define FSQRTS4(n, d) WORD $(0x6ea1f800 | (n)<<5 | (d)) // FSQRT Vd.4S, Vn.4S
#define FABSS4(n, d) WORD $(0x4ea0f800 | (n)<<5 | (d)) // FABS
#define CMLTS4(n, d) WORD $(0x4ea0a800 | (n)<<5 | (d)) // CMLT Vd.4S, Vn.4S, #0: all ones where the sign is set
#define FCMLTS4(n, d) WORD $(0x4ea0e800 | (n)<<5 | (d)) // FCMLT Vd.4S, Vn.4S, #0.0
#define FCMGT0S4(n, d) WORD $(0x4ea0c800 | (n)<<5 | (d)) // FCMGT Vd.4S, Vn.4S, #0.0
#define FNEGS4(n, d) WORD $(0x6ea0f800 | (n)<<5 | (d)) // FNEG
#define FCMEQ0S4(n, d) WORD $(0x4ea0d800 | (n)<<5 | (d)) // FCMEQ Vd.4S, Vn.4S, #0.0
#define FRINTNS4(n, d) WORD $(0x4e218800 | (n)<<5 | (d)) // FRINTN: to nearest, half to even
#define FRINTMS4(n, d) WORD $(0x4e219800 | (n)<<5 | (d)) // FRINTM: down
#define FRINTPS4(n, d) WORD $(0x4ea18800 | (n)<<5 | (d)) // FRINTP: up
#define SCVTFS4(n, d) WORD $(0x4e21d800 | (n)<<5 | (d)) // SCVTF: of integers
#define SHLS4(s, n, d) WORD $(0x4f205400 | (s)<<16 | (n)<<5 | (d)) // SHL Vd.4S, Vn.4S, #s
#define SSHRS4(s, n, d) WORD $(0x4f200400 | (32-(s))<<16 | (n)<<5 | (d)) // SSHR Vd.4S, Vn.4S, #s
#define MINUSS4(d) WORD $(0x4f047400 | (d)) // ORR Vd.4S, #0x80, LSL #24: sets the sign

// Lane i of m instead of a vector.
#define FMULS4E(m, i, n, d) WORD $(0x4f809000 | ((i)&1)<<21 | ((i)>>1)<<11 | (m)<<16 | (n)<<5 | (d)) // FMUL Vd.4S, Vn.4S, Vm.S[i]
#define FMLAS4E(m, i, n, d) WORD $(0x4f801000 | ((i)&1)<<21 | ((i)>>1)<<11 | (m)<<16 | (n)<<5 | (d)) // FMLA
#define FMLSS4E(m, i, n, d) WORD $(0x4f805000 | ((i)&1)<<21 | ((i)>>1)<<11 | (m)<<16 | (n)<<5 | (d)) // FMLS
#define DUPS4E(n, i, d) WORD $(0x4e040400 | (i)<<19 | (n)<<5 | (d)) // DUP Vd.4S, Vn.S[i]

// Constants in all lanes.
#define ONES4(d) WORD $(0x4f03f600 | (d)) // FMOV Vd.4S, #1.0
#define ZEROS4(d) WORD $(0x4f000400 | (d)) // MOVI Vd.4S, #0
#define BIASS4(d) WORD $(0x4f0307e0 | (d)) // MOVI Vd.4S, #127: of the exponent

// On float64, two lanes.
#define FADDD2(m, n, d) WORD $(0x4e60d400 | (m)<<16 | (n)<<5 | (d)) // FADD Vd.2D, Vn.2D, Vm.2D
#define FMULD2(m, n, d) WORD $(0x6e60dc00 | (m)<<16 | (n)<<5 | (d)) // FMUL
#define FMAXD2(m, n, d) WORD $(0x4e60f400 | (m)<<16 | (n)<<5 | (d)) // FMAX
#define FMLAD2(m, n, d) WORD $(0x4e60cc00 | (m)<<16 | (n)<<5 | (d)) // FMLA
#define FMLAD2E(m, i, n, d) WORD $(0x4fc01000 | (i)<<11 | (m)<<16 | (n)<<5 | (d)) // FMLA Vd.2D, Vn.2D, Vm.D[i]
#define FADDPD2(n, d) WORD $(0x7e70d800 | (n)<<5 | (d)) // FADDP Dd, Vn.2D
#define FCVTLS2(n, d) WORD $(0x0e617800 | (n)<<5 | (d)) // FCVTL Vd.2D, Vn.2S
#define FCVTLS4(n, d) WORD $(0x4e617800 | (n)<<5 | (d)) // FCVTL2 Vd.2D, Vn.4S

// The same on a group of four registers, which its first one stands for: sixteen elements.
#define FADDX(m, n, d) FADDS4(m, n, d); FADDS4((m)+1, (n)+1, (d)+1); FADDS4((m)+2, (n)+2, (d)+2); FADDS4((m)+3, (n)+3, (d)+3)
#define FSUBX(m, n, d) FSUBS4(m, n, d); FSUBS4((m)+1, (n)+1, (d)+1); FSUBS4((m)+2, (n)+2, (d)+2); FSUBS4((m)+3, (n)+3, (d)+3)
#define FMULX(m, n, d) FMULS4(m, n, d); FMULS4((m)+1, (n)+1, (d)+1); FMULS4((m)+2, (n)+2, (d)+2); FMULS4((m)+3, (n)+3, (d)+3)
#define FDIVX(m, n, d) FDIVS4(m, n, d); FDIVS4((m)+1, (n)+1, (d)+1); FDIVS4((m)+2, (n)+2, (d)+2); FDIVS4((m)+3, (n)+3, (d)+3)
#define FMAXX(m, n, d) FMAXS4(m, n, d); FMAXS4((m)+1, (n)+1, (d)+1); FMAXS4((m)+2, (n)+2, (d)+2); FMAXS4((m)+3, (n)+3, (d)+3)
#define FMINX(m, n, d) FMINS4(m, n, d); FMINS4((m)+1, (n)+1, (d)+1); FMINS4((m)+2, (n)+2, (d)+2); FMINS4((m)+3, (n)+3, (d)+3)
#define FMLAX(m, n, d) FMLAS4(m, n, d); FMLAS4((m)+1, (n)+1, (d)+1); FMLAS4((m)+2, (n)+2, (d)+2); FMLAS4((m)+3, (n)+3, (d)+3)
#define FMLSX(m, n, d) FMLSS4(m, n, d); FMLSS4((m)+1, (n)+1, (d)+1); FMLSS4((m)+2, (n)+2, (d)+2); FMLSS4((m)+3, (n)+3, (d)+3)
#define ADDX(m, n, d) ADDS4(m, n, d); ADDS4((m)+1, (n)+1, (d)+1); ADDS4((m)+2, (n)+2, (d)+2); ADDS4((m)+3, (n)+3, (d)+3)
#define SUBX(m, n, d) SUBS4(m, n, d); SUBS4((m)+1, (n)+1, (d)+1); SUBS4((m)+2, (n)+2, (d)+2); SUBS4((m)+3, (n)+3, (d)+3)
#define ANDX(m, n, d) ANDB16(m, n, d); ANDB16((m)+1, (n)+1, (d)+1); ANDB16((m)+2, (n)+2, (d)+2); ANDB16((m)+3, (n)+3, (d)+3)
#define BICX(m, n, d) BICB16(m, n, d); BICB16((m)+1, (n)+1, (d)+1); BICB16((m)+2, (n)+2, (d)+2); BICB16((m)+3, (n)+3, (d)+3)
#define BSLX(m, n, d) BSLB16(m, n, d); BSLB16((m)+1, (n)+1, (d)+1); BSLB16((m)+2, (n)+2, (d)+2); BSLB16((m)+3, (n)+3, (d)+3)
#define BITX(m, n, d) BITB16(m, n, d); BITB16((m)+1, (n)+1, (d)+1); BITB16((m)+2, (n)+2, (d)+2); BITB16((m)+3, (n)+3, (d)+3)
#define COPYX(n, d) ORRB16(n, n, d); ORRB16((n)+1, (n)+1, (d)+1); ORRB16((n)+2, (n)+2, (d)+2); ORRB16((n)+3, (n)+3, (d)+3)
#define COPYX1(n, d) ORRB16(n, n, d); ORRB16(n, n, (d)+1); ORRB16(n, n, (d)+2); ORRB16(n, n, (d)+3)
#define FSQRTX(n, d) FSQRTS4(n, d); FSQRTS4((n)+1, (d)+1); FSQRTS4((n)+2, (d)+2); FSQRTS4((n)+3, (d)+3)
#define FABSX(n, d) FABSS4(n, d); FABSS4((n)+1, (d)+1); FABSS4((n)+2, (d)+2); FABSS4((n)+3, (d)+3)
#define FNEGX(n, d) FNEGS4(n, d); FNEGS4((n)+1, (d)+1); FNEGS4((n)+2, (d)+2); FNEGS4((n)+3, (d)+3)
#define FCMEQ0X(n, d) FCMEQ0S4(n, d); FCMEQ0S4((n)+1, (d)+1); FCMEQ0S4((n)+2, (d)+2); FCMEQ0S4((n)+3, (d)+3)
#define FRINTNX(n, d) FRINTNS4(n, d); FRINTNS4((n)+1, (d)+1); FRINTNS4((n)+2, (d)+2); FRINTNS4((n)+3, (d)+3)
#define FRINTMX(n, d) FRINTMS4(n, d); FRINTMS4((n)+1, (d)+1); FRINTMS4((n)+2, (d)+2); FRINTMS4((n)+3, (d)+3)
#define FRINTPX(n, d) FRINTPS4(n, d); FRINTPS4((n)+1, (d)+1); FRINTPS4((n)+2, (d)+2); FRINTPS4((n)+3, (d)+3)
#define SCVTFX(n, d) SCVTFS4(n, d); SCVTFS4((n)+1, (d)+1); SCVTFS4((n)+2, (d)+2); SCVTFS4((n)+3, (d)+3)
#define CMLTX(n, d) CMLTS4(n, d); CMLTS4((n)+1, (d)+1); CMLTS4((n)+2, (d)+2); CMLTS4((n)+3, (d)+3)
#define FCMLTX(n, d) FCMLTS4(n, d); FCMLTS4((n)+1, (d)+1); FCMLTS4((n)+2, (d)+2); FCMLTS4((n)+3, (d)+3)
#define FCMGT0X(n, d) FCMGT0S4(n, d); FCMGT0S4((n)+1, (d)+1); FCMGT0S4((n)+2, (d)+2); FCMGT0S4((n)+3, (d)+3)
#define SHLX(s, n, d) SHLS4(s, n, d); SHLS4(s, (n)+1, (d)+1); SHLS4(s, (n)+2, (d)+2); SHLS4(s, (n)+3, (d)+3)
#define SSHRX(s, n, d) SSHRS4(s, n, d); SSHRS4(s, (n)+1, (d)+1); SSHRS4(s, (n)+2, (d)+2); SSHRS4(s, (n)+3, (d)+3)
#define MINUSX(d) MINUSS4(d); MINUSS4((d)+1); MINUSS4((d)+2); MINUSS4((d)+3)
#define ONEX(d) ONES4(d); ONES4((d)+1); ONES4((d)+2); ONES4((d)+3)

// The same with one register m, all lanes alike, for the whole group; FSUBCX is m − n, and BITCX has one n.
#define FADDXC(m, n, d) FADDS4(m, n, d); FADDS4(m, (n)+1, (d)+1); FADDS4(m, (n)+2, (d)+2); FADDS4(m, (n)+3, (d)+3)
#define FSUBXC(m, n, d) FSUBS4(m, n, d); FSUBS4(m, (n)+1, (d)+1); FSUBS4(m, (n)+2, (d)+2); FSUBS4(m, (n)+3, (d)+3)
#define FSUBCX(m, n, d) FSUBS4(n, m, d); FSUBS4((n)+1, m, (d)+1); FSUBS4((n)+2, m, (d)+2); FSUBS4((n)+3, m, (d)+3)
#define FMULXC(m, n, d) FMULS4(m, n, d); FMULS4(m, (n)+1, (d)+1); FMULS4(m, (n)+2, (d)+2); FMULS4(m, (n)+3, (d)+3)
#define FDIVXC(m, n, d) FDIVS4(m, n, d); FDIVS4(m, (n)+1, (d)+1); FDIVS4(m, (n)+2, (d)+2); FDIVS4(m, (n)+3, (d)+3)
#define FDIVCX(m, n, d) FDIVS4(n, m, d); FDIVS4((n)+1, m, (d)+1); FDIVS4((n)+2, m, (d)+2); FDIVS4((n)+3, m, (d)+3)
#define FMAXXC(m, n, d) FMAXS4(m, n, d); FMAXS4(m, (n)+1, (d)+1); FMAXS4(m, (n)+2, (d)+2); FMAXS4(m, (n)+3, (d)+3)
#define FMINXC(m, n, d) FMINS4(m, n, d); FMINS4(m, (n)+1, (d)+1); FMINS4(m, (n)+2, (d)+2); FMINS4(m, (n)+3, (d)+3)
#define FCMLTXC(m, n, d) FCMGTS4(n, m, d); FCMGTS4((n)+1, m, (d)+1); FCMGTS4((n)+2, m, (d)+2); FCMGTS4((n)+3, m, (d)+3)
#define BITXC(m, n, d) BITB16(m, n, d); BITB16(m, (n)+1, (d)+1); BITB16(m, (n)+2, (d)+2); BITB16(m, (n)+3, (d)+3)
#define FCMGTXC(m, n, d) FCMGTS4(m, n, d); FCMGTS4(m, (n)+1, (d)+1); FCMGTS4(m, (n)+2, (d)+2); FCMGTS4(m, (n)+3, (d)+3)
#define ANDXC(m, n, d) ANDB16(m, n, d); ANDB16(m, (n)+1, (d)+1); ANDB16(m, (n)+2, (d)+2); ANDB16(m, (n)+3, (d)+3)
#define BITCX(m, n, d) BITB16(m, n, d); BITB16((m)+1, n, (d)+1); BITB16((m)+2, n, (d)+2); BITB16((m)+3, n, (d)+3)
#define SUBXC(m, n, d) SUBS4(m, n, d); SUBS4(m, (n)+1, (d)+1); SUBS4(m, (n)+2, (d)+2); SUBS4(m, (n)+3, (d)+3)
#define ADDXC(m, n, d) ADDS4(m, n, d); ADDS4(m, (n)+1, (d)+1); ADDS4(m, (n)+2, (d)+2); ADDS4(m, (n)+3, (d)+3)
#define BSLXC(m, n, d) BSLB16(m, n, d); BSLB16(m, (n)+1, (d)+1); BSLB16(m, (n)+2, (d)+2); BSLB16(m, (n)+3, (d)+3)


// The same on float64: eight elements.
#define FADDXD(m, n, d) FADDD2(m, n, d); FADDD2((m)+1, (n)+1, (d)+1); FADDD2((m)+2, (n)+2, (d)+2); FADDD2((m)+3, (n)+3, (d)+3)
#define FMAXXDC(m, n, d) FMAXD2(m, n, d); FMAXD2(m, (n)+1, (d)+1); FMAXD2(m, (n)+2, (d)+2); FMAXD2(m, (n)+3, (d)+3)
#define FMLAXDE(m, i, n, d) FMLAD2E(m, i, n, d); FMLAD2E(m, i, (n)+1, (d)+1); FMLAD2E(m, i, (n)+2, (d)+2); FMLAD2E(m, i, (n)+3, (d)+3)

// A whole group: 64 bytes, from or to the address in general register r.
#define LOADX(r, d) WORD $(0x4c402800 | (r)<<5 | (d)) // LD1 {Vd.4S-Vd+3.4S}, [Xr]
#define STOREX(r, n) WORD $(0x4c002800 | (r)<<5 | (n)) // ST1 {Vn.4S-Vn+3.4S}, [Xr]
#define ZEROX(d) ZEROS4(d); ZEROS4((d)+1); ZEROS4((d)+2); ZEROS4((d)+3)

// The same with lane i of m for the whole group.
#define FMULXE(m, i, n, d) FMULS4E(m, i, n, d); FMULS4E(m, i, (n)+1, (d)+1); FMULS4E(m, i, (n)+2, (d)+2); FMULS4E(m, i, (n)+3, (d)+3)
#define FMLAXE(m, i, n, d) FMLAS4E(m, i, n, d); FMLAS4E(m, i, (n)+1, (d)+1); FMLAS4E(m, i, (n)+2, (d)+2); FMLAS4E(m, i, (n)+3, (d)+3)
#define FMLSXE(m, i, n, d) FMLSS4E(m, i, n, d); FMLSS4E(m, i, (n)+1, (d)+1); FMLSS4E(m, i, (n)+2, (d)+2); FMLSS4E(m, i, (n)+3, (d)+3)
#define DUPXE(n, i, d) DUPS4E(n, i, d); DUPS4E(n, i, (d)+1); DUPS4E(n, i, (d)+2); DUPS4E(n, i, (d)+3)

// One step of Horner's scheme: q = lane i of c + p·r. It uses up p.
#define HORNERX(c, i, p, r, q) DUPXE(c, i, q); FMLAX(p, r, q)
// The first step of it, of lanes i and i+1 of c: q = lane i+1 + lane i · r.
#define HORNERX1(c, i, r, q) DUPXE(c, (i)+1, q); FMLAXE(c, i, r, q)

// eᵘ = 2ⁿ·eʳ, see _asm/functions.go, with neonExp in V16 … V18 and V23 for constants.

// REDUCE finds n of u: V8 …, and in the low bits of V4 ….
#define REDUCE(u) \
	DUPXE(16, 3, 4); \
	FMLAXE(16, 0, u, 4); \
	DUPS4E(16, 3, 23); \
	FSUBXC(23, 4, 8)

// EXP is e^V0 … after REDUCE(0), in V12 …. It uses up V0 … V15.
#define EXP FMLSXE(16, 1, 8, 0); EXPREST

// EXPREST is eʳ·2ⁿ, r in V0 … being complete but for ln2Lo. The power of 2 goes in two steps, since
// neither 2¹²⁸ nor 2⁻¹⁴⁹ is a normal number.
#define EXPREST \
	FMLSXE(16, 2, 8, 0); \
	HORNERX1(17, 0, 0, 8); \
	HORNERX(17, 2, 8, 0, 12); \
	HORNERX(17, 3, 12, 0, 8); \
	HORNERX(18, 0, 8, 0, 12); \
	ONEX(8); \
	FMLAX(12, 0, 8); \
	ONEX(12); \
	FMLAX(8, 0, 12); \
	SHLX(10, 4, 4); \
	SSHRX(10, 4, 4); \
	SSHRX(1, 4, 8); \
	SUBX(8, 4, 4); \
	BIASS4(23); \
	ADDXC(23, 8, 8); \
	SHLX(23, 8, 8); \
	FMULX(8, 12, 12); \
	ADDXC(23, 4, 4); \
	SHLX(23, 4, 4); \
	FMULX(4, 12, 12)

// COPY copies R19 < 16 words, of 32 bits, from R20 to R21. It uses up V24, V25 and R20 … R22. Labels are
// those that it may use.
#define COPY(eight, four, two, one) \
	TBZ $3, R19, eight; \
	VLD1.P 32(R20), [V24.S4, V25.S4]; \
	VST1.P [V24.S4, V25.S4], 32(R21); \
eight: \
	TBZ $2, R19, four; \
	VLD1.P 16(R20), [V24.S4]; \
	VST1.P [V24.S4], 16(R21); \
four: \
	TBZ $1, R19, two; \
	MOVD.P 8(R20), R22; \
	MOVD.P R22, 8(R21); \
two: \
	TBZ $0, R19, one; \
	MOVWU (R20), R22; \
	MOVW R22, (R21); \
one:

// PART loads the R8 < 16 elements that are left of a row at R7 into V0 … V3 by way of 64 bytes at R11,
// with pad in the other lanes, and moves R7 on. Labels are those that it may use. R12 and R13 are free.
#define PART(pad, eight, four, two, one) \
	MOVD R11, R12; \
	VST1.P [pad], 16(R12); \
	VST1.P [pad], 16(R12); \
	VST1.P [pad], 16(R12); \
	VST1 [pad], (R12); \
	MOVD R11, R12; \
	TBZ $3, R8, eight; \
	VLD1.P 32(R7), [V0.S4, V1.S4]; \
	VST1.P [V0.S4, V1.S4], 32(R12); \
eight: \
	TBZ $2, R8, four; \
	VLD1.P 16(R7), [V0.S4]; \
	VST1.P [V0.S4], 16(R12); \
four: \
	TBZ $1, R8, two; \
	MOVD.P 8(R7), R13; \
	MOVD.P R13, 8(R12); \
two: \
	TBZ $0, R8, one; \
	MOVWU (R7), R13; \
	MOVW R13, (R12); \
one: \
	VLD1 (R11), [V0.S4, V1.S4, V2.S4, V3.S4]

// PUTPART stores the first R8 < 16 elements of the vectors given, which are at R11 then, to R6.
#define PUTPART(v0, v1, v2, v3, eight, four, two, one) \
	VST1 [v0, v1, v2, v3], (R11); \
	MOVD R11, R12; \
	TBZ $3, R8, eight; \
	VLD1.P 32(R12), [V0.S4, V1.S4]; \
	VST1.P [V0.S4, V1.S4], 32(R6); \
eight: \
	TBZ $2, R8, four; \
	VLD1.P 16(R12), [V0.S4]; \
	VST1.P [V0.S4], 16(R6); \
four: \
	TBZ $1, R8, two; \
	MOVD.P 8(R12), R13; \
	MOVD.P R13, 8(R6); \
two: \
	TBZ $0, R8, one; \
	MOVWU (R12), R13; \
	MOVW R13, (R6); \
one:

// Sums in float64 have sixteen lanes, V24 … V31.

// WIDE is x, x+1, x+2 and x+3 in float64, in V4 … V7 and V20 … V23, so x is not of them. WIDEADD adds them
// to the sums, WIDESQUARE their squares.
#define WIDE(x) \
	FCVTLS2(x, 4); \
	FCVTLS4(x, 5); \
	FCVTLS2((x)+1, 6); \
	FCVTLS4((x)+1, 7); \
	FCVTLS2((x)+2, 20); \
	FCVTLS4((x)+2, 21); \
	FCVTLS2((x)+3, 22); \
	FCVTLS4((x)+3, 23)
#define WIDEADD(x) \
	WIDE(x); \
	FADDD2(4, 24, 24); \
	FADDD2(5, 25, 25); \
	FADDD2(6, 26, 26); \
	FADDD2(7, 27, 27); \
	FADDD2(20, 28, 28); \
	FADDD2(21, 29, 29); \
	FADDD2(22, 30, 30); \
	FADDD2(23, 31, 31)
#define WIDESQUARE(x) \
	WIDE(x); \
	FMLAD2(4, 4, 24); \
	FMLAD2(5, 5, 25); \
	FMLAD2(6, 6, 26); \
	FMLAD2(7, 7, 27); \
	FMLAD2(20, 20, 28); \
	FMLAD2(21, 21, 29); \
	FMLAD2(22, 22, 30); \
	FMLAD2(23, 23, 31)

#define WIDEZERO \
	VEOR V24.B16, V24.B16, V24.B16; \
	VEOR V25.B16, V25.B16, V25.B16; \
	VEOR V26.B16, V26.B16, V26.B16; \
	VEOR V27.B16, V27.B16, V27.B16; \
	VEOR V28.B16, V28.B16, V28.B16; \
	VEOR V29.B16, V29.B16, V29.B16; \
	VEOR V30.B16, V30.B16, V30.B16; \
	VEOR V31.B16, V31.B16, V31.B16

// WIDETOTAL is the sum of all lanes, in F24.
#define WIDETOTAL \
	FADDD2(28, 24, 24); \
	FADDD2(29, 25, 25); \
	FADDD2(30, 26, 26); \
	FADDD2(31, 27, 27); \
	FADDD2(26, 24, 24); \
	FADDD2(27, 25, 25); \
	FADDD2(25, 24, 24); \
	FADDPD2(24, 24)
