package tensor

import "fmt"

// Table is a sequence of maps that all have the same keys as a matrix: a row for
// each map, in its columns the values by their keys. The keys are nil, with no
// error, where v is no sequence of maps; an empty sequence is none.
func (v Value) Table() (values, keys *Tensor, err error) {
	if v.Kind != KindSequence || len(v.Elems) == 0 || v.Elems[0].Kind != KindMap {
		return nil, nil, nil
	}
	first := v.Elems[0]
	values = New(first.Tensor.DType(), len(v.Elems), first.Keys.Len())
	for i, e := range v.Elems {
		if e.Kind != KindMap || e.Tensor.DType() != values.dtype || !Equal(e.Keys, first.Keys) {
			return nil, nil, fmt.Errorf("element %d is a %v of other keys than the first: such maps are no table", i, e.Kind)
		}
		n := e.Tensor.Len()
		copy(values.data[values.dtype.ByteLen(i*n):], e.Tensor.data)
		if values.dtype == String {
			copy(values.strs[i*n:], e.Tensor.strs)
		}
	}
	return values, first.Keys, nil
}
