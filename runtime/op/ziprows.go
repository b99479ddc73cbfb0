package op

import (
	"bilinc/runtime/kernel"
	"bilinc/runtime/tensor"
)

// rowBlock is the elements that a loop over rows gets at a time where an operand does not lie as the result does.
const rowBlock = 256

// zipRows computes c from a and b, broadcast to c's shape, over all cores, row by row: f computes as many elements of z
// as it has, from as many of x and y.
func zipRows[T, U tensor.Elem](p *kernel.Pool, a, b, c *tensor.Tensor, f func(z []U, x, y []T)) {
	x, y, z := tensor.Data[T](a), tensor.Data[T](b), tensor.Data[U](c)
	newWalk(c.Shape(), a.Shape(), b.Shape()).shareEach(p, func() func(at, n int, offs, steps []int) {
		var rooms *[2][rowBlock]T
		return func(at, n int, offs, steps []int) {
			z, x, y := z[at:at+n], x[offs[0]:], y[offs[1]:]
			if steps[0] == 1 && steps[1] == 1 || n == 1 {
				f(z, x, y)
				return
			}
			if rooms == nil {
				rooms = new([2][rowBlock]T)
			}
			x, y = oneOrRow(&rooms[0], x, steps[0], n), oneOrRow(&rooms[1], y, steps[1], n)
			for k := 0; k < n; k += rowBlock {
				f(z[k:min(n, k+rowBlock)], x[k*steps[0]:], y[k*steps[1]:])
			}
		}
	})
}

// oneOrRow is x or, where the step in it is 0, a room with its first element.
func oneOrRow[T tensor.Elem](room *[rowBlock]T, x []T, step, n int) []T {
	if step != 0 {
		return x
	}
	setAll(room[:min(n, rowBlock)], x[0])
	return room[:]
}

// zipNumbers is zipRows of an operation.
func zipNumbers[T number](p *kernel.Pool, op kernel.Operation, a, b, c *tensor.Tensor) {
	zipRows(p, a, b, c, func(z, x, y []T) { kernel.ZipNumbers(op, z, x, y) })
}
