package kernel

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// Every path copies rows of any length, and nothing beside them; a step of 0 repeats one.
func TestCopyRows(t *testing.T) {
	inEveryPath(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(7, 8))
		for _, n := range []int{0, 1, 31, 32, 33, 63, 64, 65, 96, 128, 200, mostCopy, mostCopy + 1, 3000} {
			for _, gap := range [][2]int{{0, 0}, {0, 5}, {7, 0}, {64, 32}, {3, -n}} {
				for rows := range 5 {
					ds, ss := n+gap[0], n+gap[1]
					src, dst := make([]byte, rows*(n+40)+40), make([]byte, rows*(n+70)+9)
					for i := range src {
						src[i] = byte(r.Uint32())
					}
					want := bytes.Clone(dst)
					for i := range rows * n {
						want[i/n*ds+i%n] = src[i/n*ss+i%n]
					}
					CopyRows(rows, n, dst, ds, src, ss)
					if !bytes.Equal(dst, want) {
						t.Fatalf("%d rows of %d bytes, %d and %d apart, are not copied", rows, n, ds, ss)
					}
				}
			}
		}
	})
	for _, c := range [][2]int{{191, 192}, {192, 191}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("two rows of 96 bytes are copied from %d bytes to %d", c[1], c[0])
				}
			}()
			CopyRows(2, 96, make([]byte, c[0]), 96, make([]byte, c[1]), 96)
		}()
	}
}

func BenchmarkCopyRows(b *testing.B) {
	for _, n := range []int{32, 128, 256, 512, 1024} {
		rows := (1 << 20) / n
		src, dst := make([]byte, 2*rows*n), make([]byte, rows*n)
		b.Run(fmt.Sprintf("%d bytes", n), func(b *testing.B) {
			b.SetBytes(int64(rows * n))
			for b.Loop() {
				CopyRows(rows, n, dst, n, src, 2*n)
			}
		})
		b.Run(fmt.Sprintf("%d bytes by copy", n), func(b *testing.B) {
			b.SetBytes(int64(rows * n))
			for b.Loop() {
				for i := range rows {
					copy(dst[i*n:(i+1)*n], src[2*i*n:])
				}
			}
		})
	}
}
