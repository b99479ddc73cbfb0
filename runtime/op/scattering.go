package op

import (
	"fmt"
	"slices"

	"bilinc/runtime/graph"
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// A scattering is where updates go: the k-th size elements to pos[k], in order, so that of two to one place the
// later wins. Seen as [lines … inner], two updates that differ in their line, or in their place behind it, never meet.
type scattering struct {
	pos          []int
	size         int
	lines, inner int
}

// A wave is a part of a scattering: the updates k0 to before k1, or those that are listed.
type wave struct {
	k0, k1 int
	listed []int
}

// count is the number of its updates.
func (w *wave) count() int {
	if w.listed != nil {
		return len(w.listed)
	}
	return w.k1 - w.k0
}

// update is the number of the i-th of them.
func (w *wave) update(i int) int {
	if w.listed != nil {
		return w.listed[i]
	}
	return w.k0 + i
}

// beginning lists the updates that begin at least and before most.
func (s *scattering) beginning(least, most int, list []int) []int {
	n := 0
	for k, p := range s.pos {
		list[n] = k
		n += int(uint64((p-least)|(most-1-p))>>63 ^ 1) // no branch: it would be taken at random
	}
	return list[:n]
}

// share calls f for waves that make up the scattering over total elements, on all cores. No two that run at a time
// meet in an element, and those that meet come in order.
func (s *scattering) share(p *kernel.Pool, total int, f func(wave)) {
	n := len(s.pos)
	switch threads := p.Threads(); {
	case n == 0:
	case threads == 1 || n*s.size <= elementGrain:
		f(wave{k1: n})
	case s.lines*s.inner > 1:
		cut := s.inner // of what is behind an axis, where there are few lines
		if s.lines < 16 {
			cut = min(cut, max(16, (s.inner*s.lines+15)/16))
		}
		cuts, along := (s.inner+cut-1)/cut, n/(s.lines*s.inner)
		p.For(s.lines*cuts, max(1, elementGrain/(along*cut)), func(lo, hi int) {
			for t := lo; t < hi; t++ {
				first, from := t/cuts*along*s.inner, t%cuts*cut
				if cut == s.inner {
					f(wave{k0: first, k1: first + along*s.inner})
					continue
				}
				for i := range along {
					f(wave{k0: first + i*s.inner + from, k1: first + i*s.inner + min(s.inner, from+cut)})
				}
			}
		})
	default: // each part is of the elements, and looks for the updates that go there
		parts := threads
		if s.size >= 16 {
			parts = min(n, 8*threads)
		}
		p.For(parts, 1, func(lo, hi int) {
			list := placeScratches.get(n)
			defer placeScratches.Put(list)
			least, most := total/parts*lo, total/parts*hi
			if hi == parts {
				most = total
			}
			f(wave{listed: s.beginning(least, most, *list)})
		})
	}
}

// scatter copies x to y and puts updates there.
func scatter(ctx *Ctx, reduce scatterRule, x, updates, y *tensor.Tensor, s scattering) error {
	d := x.DType()
	if reduce != "none" && (d == tensor.Float16 || d == tensor.BFloat16) {
		return viaFloat32(ctx, scatterWide{reduce, s}, []tensor.Value{tensor.ValueOf(x), tensor.ValueOf(updates)}, []tensor.Value{tensor.ValueOf(y)})
	}
	if d == tensor.String {
		if err := y.CopyFrom(x); err != nil {
			return err
		}
	} else {
		to, from := y.Bytes(), x.Bytes()
		ctx.Pool.For(len(to), 4*elementGrain, func(lo, hi int) { copy(to[lo:hi], from[lo:hi]) })
	}
	if reduce == "none" {
		return scatterCells(ctx, y, updates, &s)
	}
	switch d {
	case tensor.Float32:
		reduceInto[float32](ctx, reduce, y, updates, &s)
	case tensor.Float64:
		reduceInto[float64](ctx, reduce, y, updates, &s)
	case tensor.Int8:
		reduceInto[int8](ctx, reduce, y, updates, &s)
	case tensor.Int16:
		reduceInto[int16](ctx, reduce, y, updates, &s)
	case tensor.Int32:
		reduceInto[int32](ctx, reduce, y, updates, &s)
	case tensor.Int64:
		reduceInto[int64](ctx, reduce, y, updates, &s)
	case tensor.Uint8:
		reduceInto[uint8](ctx, reduce, y, updates, &s)
	case tensor.Uint16:
		reduceInto[uint16](ctx, reduce, y, updates, &s)
	case tensor.Uint32:
		reduceInto[uint32](ctx, reduce, y, updates, &s)
	case tensor.Uint64:
		reduceInto[uint64](ctx, reduce, y, updates, &s)
	default:
		return &Unsupported{OpType: "Scatter", Detail: fmt.Sprintf("with reduction %s for %v", reduce, d)}
	}
	return nil
}

// scatterWide is scatter on positions that are known, for viaFloat32.
type scatterWide struct {
	reduce scatterRule
	scattering
}

func (scatterWide) Infer(in []graph.Fact, _ int) ([]graph.Fact, error) { return in[:1], nil }

func (o scatterWide) Forward(ctx *Ctx, in, out []tensor.Value) error {
	return scatter(ctx, o.reduce, in[0].Tensor, in[1].Tensor, out[0].Tensor, o.scattering)
}

// scatterCells replaces elements of whatever type.
func scatterCells(ctx *Ctx, y, updates *tensor.Tensor, s *scattering) error {
	if y.DType() == tensor.String {
		replaceIn[string](ctx, y, updates, s)
		return nil
	}
	switch y.DType().Bits() {
	case 8:
		replaceIn[uint8](ctx, y, updates, s)
	case 16:
		replaceIn[uint16](ctx, y, updates, s)
	case 32:
		replaceIn[uint32](ctx, y, updates, s)
	case 64:
		replaceIn[uint64](ctx, y, updates, s)
	case 128:
		replaceIn[complex128](ctx, y, updates, s)
	default:
		return unsupportedType("Scatter", y.DType())
	}
	return nil
}

func replaceIn[T tensor.Elem](ctx *Ctx, y, updates *tensor.Tensor, s *scattering) {
	to, from, size := tensor.Data[T](y), tensor.Data[T](updates), s.size
	s.share(ctx.Pool, len(to), func(w wave) {
		for i := range w.count() {
			k := w.update(i)
			if p := s.pos[k]; size == 1 {
				to[p] = from[k]
			} else {
				copy(to[p:p+size], from[k*size:])
			}
		}
	})
}

func reduceInto[T integer | float32 | float64](ctx *Ctx, reduce scatterRule, y, updates *tensor.Tensor, s *scattering) {
	to, from, size := tensor.Data[T](y), tensor.Data[T](updates), s.size
	rule := [...]scatterRule{"add", "mul", "min", "max"}
	code := slices.Index(rule[:], reduce)
	s.share(ctx.Pool, len(to), func(w wave) {
		for n := range w.count() {
			k := w.update(n)
			p := s.pos[k]
			src, dst := from[k*size:(k+1)*size], to[p:p+size]
			switch code {
			case 0:
				for i, v := range src {
					dst[i] += v
				}
			case 1:
				for i, v := range src {
					dst[i] *= v
				}
			case 2:
				for i, v := range src {
					dst[i] = min(dst[i], v)
				}
			case 3:
				for i, v := range src {
					dst[i] = max(dst[i], v)
				}
			}
		}
	})
}
