// Package match finds the fully connected layers of a model, however an
// exporter spelled them, and says why other nodes with weights are none.
package match

import (
	"fmt"

	"gonum.org/v1/gonum/mat"

	"bilinc/runtime/graph"
	"bilinc/runtime/op"
	"bilinc/runtime/tensor"
)

// A Layer is a fully connected layer y = W x + b of Out×In weights. Its nodes
// are Product and, where the bias is added apart, BiasAdd.
type Layer struct {
	Name    string      // of the product's node, or of Y where that has none; unique in a model
	Op      string      // Gemm or MatMul
	Product *graph.Node // the product with the weight
	BiasAdd *graph.Node // the Add that is folded in; nil where there is none
	X       *graph.Value
	Y       *graph.Value // after the bias
	In, Out int
	Rank    int // of X; -1 where it is not known

	// Columns says that the samples are the columns of X, as in
	// MatMul(W, X): X is [… In S] and Y is [… Out S]. Otherwise they are the
	// rows: X is [… In] and Y is [… Out].
	Columns bool
	// TransposeX says that the product reads X, of rank 2, transposed.
	TransposeX bool

	Weight *Weight // shared by tied layers
	// Transposed says that W is the transpose of Weight.Dense().
	Transposed bool

	// Addend is what is added to the product: the C of a Gemm, or the
	// constant operand of BiasAdd. nil where there is none.
	Addend *graph.Value
	Beta   float64 // the factor of Addend
}

// A Weight is the constant behind one layer or several tied ones.
type Weight struct {
	// Root is the initializer, or the output of the Constant node, that holds
	// the elements.
	Root *graph.Value
	// Rows and Cols are the size of Dense, which is W of the first of Layers.
	Rows, Cols int
	// DType is the element type at the product, hence that of factors.
	DType  tensor.DType
	Alpha  float64 // factor of a Gemm; part of Dense
	Layers []*Layer

	chain *chain
}

// A Skip is a node that reads a weight and is not taken as a fully connected
// layer, and why.
type Skip struct {
	Name   string
	Node   *graph.Node
	Params int    // elements of the weight
	Reason string // a sentence
}

// Dense is W as a matrix of Rows×Cols, computed anew at each call.
func (w *Weight) Dense() (*mat.Dense, error) {
	v, err := w.chain.values()
	if err != nil {
		return nil, fmt.Errorf("weight %q: %w", w.Root.Name(), err)
	}
	d := mat.NewDense(w.chain.rows, w.chain.cols, v)
	if w.chain.transposed {
		d = mat.DenseCopyOf(d.T())
	}
	if w.Alpha != 1 {
		d.Scale(w.Alpha, d)
	}
	return d, nil
}

// Params is the number of elements that leave the model when all layers of w
// are replaced.
func (w *Weight) Params() int { return w.chain.params() }

// Bytes is the size of those elements as they are stored.
func (w *Weight) Bytes() int { return w.chain.bytes() }

// Layers finds the fully connected layers of m, in the order of the nodes,
// subgraphs included, and the nodes with weights that are none. f is what
// inference knows of m.
func Layers(m *graph.Model, f *op.Facts) ([]*Layer, []Skip) {
	return nil, nil
}
