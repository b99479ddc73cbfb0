package tensor

import (
	"slices"
	"testing"
)

func TestTable(t *testing.T) {
	row := func(values *Tensor, keys ...int64) Value {
		return Value{Kind: KindMap, Keys: Of(keys, len(keys)), Tensor: values}
	}
	maps := Value{Kind: KindSequence, Elems: []Value{row(Of([]float32{1, 2}, 2), 4, 7), row(Of([]float32{3, 5}, 2), 4, 7)}}
	values, keys, err := maps.Table()
	if err != nil {
		t.Fatal(err)
	}
	if values.String() != "float32[2 2]" || !slices.Equal(Data[float32](values), []float32{1, 2, 3, 5}) || !slices.Equal(Data[int64](keys), []int64{4, 7}) {
		t.Errorf("found %v %v by %v", values, Data[float32](values), Data[int64](keys))
	}
	words := Value{Kind: KindSequence, Elems: []Value{row(Of([]string{"a"}, 1), 4), row(Of([]string{"b"}, 1), 4)}}
	if values, _, err = words.Table(); err != nil || !slices.Equal(Data[string](values), []string{"a", "b"}) {
		t.Errorf("found %v, error %v", values, err)
	}
	for _, other := range []Value{row(Of([]float32{3, 5}, 2), 4, 8), row(Of([]float64{3, 5}, 2), 4, 7), ValueOf(Of([]float32{1}, 1))} {
		if _, _, err := (Value{Kind: KindSequence, Elems: []Value{maps.Elems[0], other}}).Table(); err == nil {
			t.Errorf("no error for %v after %v", other, maps.Elems[0])
		}
	}
	for _, v := range []Value{{}, ValueOf(Of([]float32{1}, 1)), {Kind: KindSequence}, {Kind: KindSequence, Elems: []Value{ValueOf(Of([]float32{1}, 1))}}} {
		if values, keys, err := v.Table(); values != nil || keys != nil || err != nil {
			t.Errorf("%v is a table", v.Kind)
		}
	}
}
