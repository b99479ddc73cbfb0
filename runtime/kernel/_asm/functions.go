package main

import (
	"math"

	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"

	. "github.com/mmcloughlin/avo/build"
)

// The polynomials are minimax fits (least squares, weights raised where the error is largest until it
// is level) in float64, rounded to float32. The errors given are of the fit alone, in units of 2⁻²⁴.
var (
	// expSeries is eʳ for |r| ≤ ½·ln 2, to 0.05.
	expSeries = []float32{1, 1, 0.49999994, 0.1666652, 0.041668393, 0.008368781, 0.0013814467}
	// tanhSeries is (tanh(x)/x − 1)/x² by powers of x², |x| < 0.6, to 0.05.
	tanhSeries = []float32{-0.333333, 0.13331924, -0.05378383, 0.020795971, -0.005895158}
	// erfSeries is erf(x)/x − 1 by powers of x², |x| < 0.93, to 0.3.
	erfSeries = []float32{0.12837915, -0.3761248, 0.112816825, -0.02676172, 0.00498594, -0.00059537392}
	// erfcSeries is ln(1 − erf(t)), 0.9 ≤ t ≤ 4, to 0.03 of erf.
	erfcSeries = []float32{-0.0001664448, -1.1277972, -0.63697606, -0.104113698, 0.022315225, -0.0030654934, 0.0001982200}
	// tailSeries is ln Φ(−t) + t²/2 by powers of t − 1, 0 ≤ t ≤ 6, Φ the normal distribution, to 0.06.
	tailSeries = []float32{-1.34102166, -0.52513528, 0.099548891, -0.0194886345, 0.0032988347, -0.00040624375, 1.1871389688e-05,
		1.088769659e-05, -3.6251437905e-06, 6.6809451482e-07, -7.7909611207e-08, 5.3489612739e-09, -1.6469865749e-10}
)

// logSeries is (ln(1+f) − f + ½f²)/f³ for √½ ≤ 1+f ≤ √2, from logf of S. Moshier's Cephes library.
var logSeries = []float32{3.3333331174e-1, -2.4999993993e-1, 2.0000714765e-1, -1.6668057665e-1, 1.4249322787e-1,
	-1.2420140846e-1, 1.1676998740e-1, -1.1514610310e-1, 7.0376836292e-2}

// ln2Hi + ln2Lo is ln 2; magic rounds what is added to it to an integer.
const (
	log2e = 1.44269504088896340736
	ln2Hi = 0.693359375
	ln2Lo = -2.12194440e-4
	magic = 3 << 22
)

// power is a running exponential: eᵘ = 2ⁿ·eʳ.
type power struct {
	v    vectors
	n, t VecVirtual // n, and n in the low bits
	r    VecVirtual
}

// reduce starts an exponential of u by finding n.
func (v vectors) reduce(u VecVirtual) power {
	t := v.all(magic)
	if v.zmm {
		VFMADD231PS_BCST(konst(log2e), u, t)
	} else {
		VFMADD231PS(konst(log2e), u, t)
	}
	n := v.sub(t, v.all(magic))
	return power{v: v, n: n, t: t}
}

// exp is eʳ·2ⁿ, r being complete but for ln2Lo.
func (p power) exp() VecVirtual {
	v := p.v
	v.subMul(p.r, p.n, ln2Lo)
	e := v.horner(p.r, expSeries...)
	if v.zmm {
		return v.binary(VSCALEFPS, e, p.n)
	}
	// In two steps, since neither 2¹²⁸ nor 2⁻¹⁴⁹ is a normal number.
	i, half := YMM(), YMM()
	VPSLLD(U8(10), p.t, i)
	VPSRAD(U8(10), i, i)
	VPSRAD(U8(1), i, half)
	VPSUBD(half, i, i)
	for _, s := range []VecVirtual{half, i} {
		VPADDD(konstBits(127), s, s)
		VPSLLD(U8(23), s, s)
		e = v.mul(e, s)
	}
	return e
}

// exp is eᵘ for u from expLow to expHigh.
func (v vectors) exp(u VecVirtual) VecVirtual {
	p := v.reduce(u)
	p.r = v.copy(u)
	v.subMul(p.r, p.n, ln2Hi)
	return p.exp()
}

// expm1 is eᵘ − 1 for u up to 0, which does not cancel: 2ⁿ·(eʳ−1) + (2ⁿ−1).
func (v vectors) expm1(u VecVirtual) VecVirtual {
	u = v.max(v.all(-30), u) // where it rounds to -1, 2ⁿ being a normal number still
	p := v.reduce(u)
	r := v.copy(u)
	v.subMul(r, p.n, ln2Hi)
	v.subMul(r, p.n, ln2Lo)
	e := v.mul(v.horner(r, expSeries[1:]...), r)
	two := v.vec()
	VPSLLD(U8(23), p.t, two)
	VPADDD(v.spread(konstBits(127<<23)), two, two)
	VFMADD213PS(v.sub(two, v.all(1)), two, e)
	return e
}

// log is ln u of a positive normal number, less lost·ln 2, plus what correction gives to it (nil: nothing).
func (v vectors) log(u VecVirtual, lost, correction VecVirtual) VecVirtual {
	k, m := v.vec(), v.vec()
	VPSUBD(v.spread(konstBits(0x3f3504f3)), u, k) // √½
	VPSRAD(U8(23), k, k)
	VPSLLD(U8(23), k, m)
	VPSUBD(m, u, m)
	n := v.vec()
	VCVTDQ2PS(k, n)
	if lost != nil {
		n = v.sub(n, lost)
	}
	f := v.sub(m, v.all(1))
	z := v.mul(f, f)
	r := v.mul(v.mul(v.horner(f, logSeries...), z), f)
	if correction != nil {
		r = v.plus(r, correction)
	}
	low := v.all(ln2Lo)
	VFMADD231PS(low, n, r)
	v.subMul(r, z, 0.5)
	r = v.plus(f, r)
	high := v.all(ln2Hi)
	VFMADD231PS(high, n, r)
	return r
}

// log1p is ln(1+x), x ≥ 0: what 1+x lost in rounding comes back by its derivative.
func (v vectors) log1p(x VecVirtual) VecVirtual {
	one := v.all(1)
	u := v.plus(x, one)
	return v.log(u, nil, v.div(v.sub(x, v.sub(u, one)), u))
}

// e^expLow rounds to 0, e^expHigh to +Inf.
const expLow, expHigh = -104, 89

func (v vectors) abs(x VecVirtual) VecVirtual  { return v.and(x, v.spread(konstBits(1<<31-1))) }
func (v vectors) sign(x VecVirtual) VecVirtual { return v.and(x, v.spread(konstBits(1<<31))) }

// logistic is the numerator and the denominator of 1/(1+e⁻ˣ), neither of which overflows.
func (v vectors) logistic(low, one, x VecVirtual) (num, den VecVirtual) {
	minus := v.or(x, v.spread(konstBits(1<<31)))
	e := v.exp(v.max(low, minus))
	return v.where(x, e, one), v.plus(e, one)
}

// sigmoid sets up 1/(1+e⁻ˣ).
func (v vectors) sigmoid() func(x VecVirtual) VecVirtual {
	low, one := v.all(expLow), v.all(1)
	return func(x VecVirtual) VecVirtual {
		num, den := v.logistic(low, one, x)
		return v.div(num, den)
	}
}

// tanh sets up that function.
func (v vectors) tanh() func(x VecVirtual) VecVirtual {
	low, one := v.all(expLow), v.all(1)
	return func(x VecVirtual) VecVirtual {
		t, s := v.abs(x), v.mul(x, x)
		near := v.mul(v.horner(s, tanhSeries...), s)
		VFMADD213PS(x, x, near)
		e := v.exp(v.max(low, v.mul(t, v.all(-2))))
		far := v.or(v.div(v.sub(one, e), v.plus(one, e)), v.sign(x))
		return v.where(v.sub(t, v.all(0.6)), near, far)
	}
}

// functions writes the functions of one element.
func (v vectors) functions() {
	type lane = VecVirtual
	v.unary("Relu", func() func(lane) lane {
		zero := v.zero()
		return func(x lane) lane { return v.max(zero, x) }
	})
	v.unary("LeakyRelu", func() func(lane) lane {
		alpha := v.param("alpha")
		return func(x lane) lane { return v.where(x, v.mul(x, alpha), x) }
	})
	v.unary("Clip", func() func(lane) lane {
		low, high := v.param("alpha"), v.param("beta")
		return func(x lane) lane { return v.min(high, v.max(low, x)) }
	})
	v.unary("HardSigmoid", func() func(lane) lane {
		alpha, beta, zero, one := v.param("alpha"), v.param("beta"), v.zero(), v.all(1)
		return func(x lane) lane { return v.min(one, v.max(zero, v.plus(v.mul(x, alpha), beta))) }
	})
	v.unary("HardSwish", func() func(lane) lane {
		sixth, half, zero, one := v.all(1./6), v.all(0.5), v.zero(), v.all(1)
		return func(x lane) lane { return v.mul(x, v.min(one, v.max(zero, v.plus(v.mul(x, sixth), half)))) }
	})
	v.unary("Exp", func() func(lane) lane {
		low, high := v.all(expLow), v.all(expHigh)
		return func(x lane) lane { return v.exp(v.max(low, v.min(high, x))) }
	})
	v.unary("Sigmoid", v.sigmoid)
	v.unary("Silu", func() func(lane) lane {
		low, one := v.all(expLow), v.all(1)
		return func(x lane) lane {
			num, den := v.logistic(low, one, x)
			return v.div(v.mul(x, num), den)
		}
	})
	v.unary("GeluTanh", func() func(lane) lane { // x/(1+e^(−2√(2/π)(x+0.044715x³)))
		low, one := v.all(expLow), v.all(1)
		return func(x lane) lane {
			u := v.all(2 * 0.79788456080286535588 * 0.044715)
			v.mulAdd(u, v.mul(x, x), 2*0.79788456080286535588)
			num, den := v.logistic(low, one, v.mul(u, x))
			return v.div(v.mul(x, num), den)
		}
	})
	v.unary("Tanh", v.tanh)
	v.unary("Erf", func() func(lane) lane {
		end, one := v.all(4), v.all(1)
		return func(x lane) lane {
			t := v.min(end, v.abs(x))
			near := v.horner(v.mul(x, x), erfSeries...)
			VFMADD213PS(x, x, near)
			far := v.or(v.sub(one, v.exp(v.horner(t, erfcSeries...))), v.sign(x))
			return v.where(v.sub(t, v.all(0.93)), near, far)
		}
	})
	round := func(mode int) func(x lane) lane {
		return func(x lane) lane {
			r := v.vec()
			if v.zmm {
				VRNDSCALEPS(U8(8|mode), x, r)
			} else {
				VROUNDPS(U8(8|mode), x, r)
			}
			return r
		}
	}
	v.unary("Abs", func() func(lane) lane { return v.abs })
	v.unary("Neg", func() func(lane) lane {
		minus := v.spread(konstBits(1 << 31))
		return func(x lane) lane { return v.xor(x, minus) }
	})
	v.unary("Sign", func() func(lane) lane {
		zero, one, minus := v.zero(), v.all(1), v.all(-1)
		return func(x lane) lane { return v.pick(less, zero, x, one, v.pick(less, x, zero, minus, x)) }
	})
	v.unary("Floor", func() func(lane) lane { return round(1) })
	v.unary("Ceil", func() func(lane) lane { return round(2) })
	v.unary("Round", func() func(lane) lane { return round(0) })
	v.unary("Sqrt", func() func(lane) lane {
		return func(x lane) lane {
			r := v.vec()
			VSQRTPS(x, r)
			return r
		}
	})
	v.unary("Reciprocal", func() func(lane) lane {
		one := v.all(1)
		return func(x lane) lane { return v.div(one, x) }
	})
	v.unary("Softsign", func() func(lane) lane {
		one := v.all(1)
		return func(x lane) lane { return v.div(x, v.plus(one, v.abs(x))) }
	})
	v.unary("Threshold", func() func(lane) lane {
		alpha, zero := v.param("alpha"), v.zero()
		return func(x lane) lane { return v.pick(less, alpha, x, x, zero) }
	})
	v.unary("Elu", func() func(lane) lane {
		alpha, beta := v.param("alpha"), v.param("beta")
		return func(x lane) lane { return v.where(x, v.mul(v.expm1(v.mul(x, beta)), alpha), x) }
	})
	v.unary("Log", func() func(lane) lane {
		return func(x lane) lane {
			least, zero := v.spread(konstBits(1<<23)), v.zero()
			u := v.pick(less, x, least, v.mul(x, v.all(1<<24)), x)
			r := v.log(u, v.pick(less, x, least, v.all(24), zero), nil)
			r = v.pick(equal, x, zero, v.all(float32(math.Inf(-1))), r)
			r = v.pick(less, x, zero, v.spread(konstBits(0x7fc00000)), r)
			return v.pick(notLess, x, v.all(float32(math.Inf(1))), x, r)
		}
	})
	v.unary("Log1p", func() func(lane) lane {
		return func(x lane) lane { return v.pick(notLess, x, v.all(float32(math.Inf(1))), x, v.log1p(x)) }
	})
	v.unary("Softplus", func() func(lane) lane {
		low, zero := v.all(expLow), v.zero()
		return func(x lane) lane {
			e := v.exp(v.max(low, v.or(x, v.spread(konstBits(1<<31)))))
			return v.plus(v.max(zero, x), v.log1p(e))
		}
	})
	v.unary("Mish", func() func(lane) lane { // tanh(ln(1+e)) = n/(n+2), n = e(e+2), which is 1 from 20 on
		low, high, two := v.all(expLow), v.all(20), v.all(2)
		return func(x lane) lane {
			e := v.exp(v.max(low, v.min(high, x)))
			n := v.mul(e, v.plus(e, two))
			return v.mul(x, v.div(n, v.plus(n, two)))
		}
	})
	// Φ(−t) = e^(−t²/2)·e^series does not cancel, and Φ(t) = 1 − Φ(−t) need not: x·Φ(x).
	v.unary("Gelu", func() func(lane) lane {
		end, one, half, first := v.all(14.5), v.all(1), v.all(-0.5), v.all(tailSeries[0])
		return func(x lane) lane {
			t := v.min(end, v.abs(x))
			near := v.min(v.all(6), t)
			d := v.sub(near, one)
			g := v.mul(v.horner(d, tailSeries[1:]...), d)
			w := v.mul(t, t)
			u := v.copy(w)
			VFMADD213PS(v.plus(g, first), half, u)
			p := v.reduce(u)
			p.r = v.mul(w, half)
			v.subMul(p.r, p.n, ln2Hi)
			p.r = v.plus(v.plus(p.r, first), g) // the largest part is exact
			lost := v.copy(t)                   // t² − w
			VFMSUB213PS(w, t, lost)
			VFMADD231PS(half, lost, p.r)
			q := p.exp()
			return v.mul(x, v.where(x, q, v.sub(one, q)))
		}
	})
}
