package onnx

import (
	"fmt"

	"bilinc/convert/onnx/wire"
	"bilinc/runtime/tensor"
)

// maxDense bounds the bytes that all sparse tensors of one model take when
// they are filled up: their size does not follow from that of the file.
const maxDense = 1 << 28

// dense fills up a sparse tensor: values [NNZ], and indices [NNZ] into the
// flattened tensor or [NNZ, rank].
func (d *decoder) dense(p *wire.SparseTensor) (*tensor.Tensor, error) {
	if p.Values == nil {
		return nil, invalidf("sparse tensor without values")
	}
	values, err := tensorFromWire(p.Values)
	if err != nil {
		return nil, err
	}
	_, shape, n, err := tensorHead(&wire.Tensor{Dims: p.Dims, DataType: p.Values.DataType})
	if err != nil {
		return nil, err
	}
	size := values.DType().Bits() / 8
	if size == 0 {
		return nil, invalidf("sparse tensors of %v are not supported", values.DType())
	}
	indices := tensor.New(tensor.Int64, 0)
	if p.Indices != nil {
		if indices, err = tensorFromWire(p.Indices); err != nil {
			return nil, &FormatError{Reason: "indices", Err: err}
		}
	}
	nnz, rank := values.Len(), len(shape)
	width := 1 // numbers that make one index
	if indices.Rank() == 2 {
		width = rank
	}
	if values.Rank() != 1 || indices.DType() != tensor.Int64 || indices.Rank() > 2 || indices.Len() != nnz*width ||
		indices.Rank() == 2 && indices.Shape()[0] != nnz {
		return nil, invalidf("sparse tensor of shape %v: values %v and indices %v do not fit, wanted [NNZ] and int64[NNZ] or int64[NNZ %d]",
			shape, values, indices, rank)
	}
	if d.filled += int64(n) * int64(size); d.filled > maxDense {
		return nil, invalidf("sparse tensor %v%v: more than %d bytes when filled up", values.DType(), shape, maxDense)
	}
	t := tensor.New(values.DType(), shape...)
	index, from, to := tensor.Data[int64](indices), values.Bytes(), t.Bytes()
	for i := range nnz {
		at := 0
		for k, v := range index[i*width : (i+1)*width] {
			limit := n
			if indices.Rank() == 2 {
				limit = shape[k]
			}
			if v < 0 || v >= int64(limit) {
				return nil, invalidf("sparse tensor of shape %v: index %d of value %d is out of range", shape, v, i)
			}
			at = at*limit + int(v)
		}
		copy(to[at*size:(at+1)*size], from[i*size:(i+1)*size])
	}
	return t, nil
}

// nodeLabel names a node as graph.Node's String does.
func nodeLabel(n *wire.Node) string {
	name := get(n.Name)
	for _, o := range n.Output {
		if name == "" {
			name = o
		}
	}
	op := get(n.OpType)
	if d := get(n.Domain); d != "" && d != "ai.onnx" {
		op = d + "." + op
	}
	return fmt.Sprintf("node %q (%s)", name, op)
}
