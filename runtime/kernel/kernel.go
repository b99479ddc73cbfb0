// Package kernel holds the loops that do bilinc's arithmetic, on plain slices: matrix products in
// float32 and float64, and the pool of workers that shares them out. It knows nothing of tensors.
//
// Every product exists once in portable Go ("generic") and once per instruction set. All of them
// add the terms of an element in the same order, whatever the number of threads, so one path
// always gives the same bits for the same input.
package kernel

import (
	"fmt"
	"strings"
	"sync/atomic"
)

// float is an element type of the products.
type float interface{ float32 | float64 }

// path is one implementation of the kernels.
type path struct {
	name string
	f32  *impl[float32]
	f64  *impl[float64]

	unary [functions]unary[float32] // Identity is nil
	zips  [operations]zips
	rows  rowKernels

	windows windowKernels
	folds   foldKernels
	cells   cellKernels
	norms   normKernels
}

var genericPath = &path{name: "generic", f32: newGeneric[float32](), f64: newGeneric[float64](),
	unary: unaryGeneric, zips: zipsGeneric, rows: rowsGeneric, windows: windowsGeneric, norms: normsGeneric, folds: foldsGeneric}

// paths are the implementations that this CPU can run, the best one last.
var paths = append([]*path{genericPath}, cpuPaths()...)

var active atomic.Pointer[path]

func init() { active.Store(paths[len(paths)-1]) }

// Path names the implementation in use: "generic", "avx2", "avx512" or "neon".
func Path() string { return active.Load().name }

// Use pins the implementation for all later calls. Its error lists the paths that this CPU has.
func Use(name string) error {
	have := make([]string, len(paths))
	for i, p := range paths {
		if p.name == name {
			active.Store(p)
			return nil
		}
		have[i] = p.name
	}
	return fmt.Errorf("kernel path %q: this build and CPU have %s", name, strings.Join(have, ", "))
}
