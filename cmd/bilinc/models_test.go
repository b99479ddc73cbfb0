package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/protobuf/proto"

	"bilinc/convert/dataset"
	"bilinc/convert/onnx"
	"bilinc/convert/onnx/onnxpb"
	"bilinc/runtime/tensor"
)

// made are the models that `model NAME FILE` writes, those that no valid
// graph can be included.
var made = map[string]func() *onnxpb.ModelProto{
	// mlp is 16-32-32-4 with Relu; its weights are far from low rank.
	"mlp": func() *onnxpb.ModelProto { return mlp("N", 0) },
	// near is mlp with weights that differ a little.
	"near":  func() *onnxpb.ModelProto { return mlp("N", 1e-3) },
	"fixed": func() *onnxpb.ModelProto { return mlp("3", 0) },
	"unknown": func() *onnxpb.ModelProto {
		m := mlp("N", 0)
		g := m.Graph
		g.Node = append(g.Node, node("Frobnicate", "odd", []string{"logits"}, "a"),
			node("Quux", "", []string{"a"}, "b"), node("Relu", "", []string{"b"}, "y"))
		g.Node[len(g.Node)-2].Domain = proto.String("com.example")
		m.OpsetImport = append(m.OpsetImport, &onnxpb.OperatorSetIdProto{Domain: proto.String("com.example"), Version: proto.Int64(1)})
		g.Output = []*onnxpb.ValueInfoProto{value("y", "N 4")}
		return m
	},
	"softmax": func() *onnxpb.ModelProto {
		m := mlp("N", 0)
		m.Graph.Node = append(m.Graph.Node, node("Softmax", "", []string{"logits"}, "p"))
		m.Graph.Output = []*onnxpb.ValueInfoProto{value("p", "N 4")}
		return m
	},
	"random": func() *onnxpb.ModelProto {
		m := mlp("N", 0)
		m.Graph.Node = append(m.Graph.Node, node("RandomNormalLike", "", []string{"logits"}, "noise"),
			node("Add", "", []string{"logits", "noise"}, "noisy"))
		m.Graph.Output = append(m.Graph.Output, value("noisy", "N 4"))
		return m
	},
	// pipeline is near as scikit-learn's classifiers are exported, pipeline-words
	// with names for classes, pipeline-plain without maps.
	"pipeline":       func() *onnxpb.ModelProto { return pipeline(nil, true) },
	"pipeline-words": func() *onnxpb.ModelProto { return pipeline([]string{"d", "c", "b", "a"}, true) },
	"pipeline-plain": func() *onnxpb.ModelProto { return pipeline(nil, false) },
	// tagger gives each of the tokens of a text 4 scores; mask goes through it.
	"tagger": func() *onnxpb.ModelProto {
		m := model([]*onnxpb.NodeProto{node("Gather", "embed", []string{"table", "ids"}, "e"),
			node("MatMul", "score", []string{"e", "w"}, "scores"), node("Identity", "", []string{"mask"}, "kept")},
			[]*onnxpb.TensorProto{constant("table", ramp(20*16), 20, 16), constant("w", ramp(16*4), 16, 4)},
			value("ids", "N T"), value("scores", "N T 4"))
		m.Graph.Input = append(m.Graph.Input, value("mask", "N T"))
		m.Graph.Output = append(m.Graph.Output, value("kept", "N T"))
		for _, v := range []*onnxpb.ValueInfoProto{m.Graph.Input[0], m.Graph.Input[1], m.Graph.Output[1]} {
			v.Type.GetTensorType().ElemType = proto.Int32(int32(onnxpb.TensorProto_INT64))
		}
		return m
	},
	// open is mlp whose weights are inputs too, which a caller may set.
	"open": func() *onnxpb.ModelProto {
		m := mlp("N", 0)
		for i, shape := range []string{"32 16", "32 32", "4 32"} {
			m.Graph.Input = append(m.Graph.Input, value(fmt.Sprintf("w%d", i), shape))
		}
		return m
	},
	// huge fixes a batch of which one input alone takes 64 TB.
	"huge": func() *onnxpb.ModelProto { return mlp("1099511627776", 0) },
	// nan is mlp with a weight that is not a number.
	"nan": func() *onnxpb.ModelProto {
		m := mlp("N", 0)
		w := ramp(32 * 32)
		w[7] = float32(math.NaN())
		m.Graph.Initializer[2] = constant("w1", w, 32, 32)
		return m
	},
	"zero": func() *onnxpb.ModelProto {
		none := constant("none", nil, 0, 4)
		n := node("Concat", "", []string{"x", "none"}, "y")
		n.Attribute = []*onnxpb.AttributeProto{intAttr("axis", 0)}
		return model([]*onnxpb.NodeProto{n}, []*onnxpb.TensorProto{none}, value("x", "N 4"), value("y", "M 4"))
	},
	"cycle": func() *onnxpb.ModelProto {
		return model([]*onnxpb.NodeProto{node("Add", "first", []string{"x", "b"}, "a"), node("Relu", "second", []string{"a"}, "b")},
			nil, value("x", "N 4"), value("b", "N 4"))
	},
	"undefined": func() *onnxpb.ModelProto {
		return model([]*onnxpb.NodeProto{node("Add", "sum", []string{"x", "nowhere"}, "y")}, nil, value("x", "N 4"), value("y", "N 4"))
	},
	"short": func() *onnxpb.ModelProto {
		m := mlp("N", 0)
		w := m.Graph.Initializer[0]
		w.RawData = w.RawData[:len(w.RawData)-4]
		return m
	},
	"contradictory": func() *onnxpb.ModelProto {
		return model([]*onnxpb.NodeProto{node("MatMul", "product", []string{"x", "w"}, "y")},
			[]*onnxpb.TensorProto{constant("w", ramp(50), 5, 10)}, value("x", "N 4"), value("y", "N 10"))
	},
}

func cmdModel(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 || made[args[0]] == nil {
		ts.Fatalf("usage: model NAME FILE")
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(made[args[0]]())
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), data, 0o600))
}

// cmdNPZ writes an .npz or .npy file: npz FILE name=dtype:shape[:what] with
// what one of ramp (default), nan, inf, huge, count, mod4 and onehot; npz x.npz x=float32:8x16.
// A name ending in -ubyte makes an IDX file of bytes or float32.
func cmdNPZ(ts *testscript.TestScript, neg bool, args []string) {
	var arrays []dataset.Array
	for _, arg := range args[1:] {
		name, spec, _ := strings.Cut(arg, "=")
		parts := append(strings.Split(spec, ":"), "ramp")
		var shape []int
		for _, d := range strings.Split(parts[1], "x") {
			n, err := strconv.Atoi(d)
			ts.Check(err)
			shape = append(shape, n)
		}
		t, err := filled(parts[0], parts[2], shape)
		ts.Check(err)
		arrays = append(arrays, dataset.Array{Name: name, Tensor: t})
	}
	var b bytes.Buffer
	switch {
	case strings.HasSuffix(args[0], ".npy"):
		ts.Check(dataset.WriteNPY(&b, arrays[0].Tensor))
	case strings.HasSuffix(args[0], "-ubyte"):
		b.Write(idxFile(arrays[0].Tensor))
	default:
		ts.Check(dataset.WriteNPZ(&b, arrays))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b.Bytes(), 0o600))
}

// idxFile is t, of bytes or float32, as an IDX file.
func idxFile(t *tensor.Tensor) []byte {
	kind := byte(0x08)
	if t.DType() == tensor.Float32 {
		kind = 0x0D
	}
	out := []byte{0, 0, kind, byte(t.Rank())}
	for _, d := range t.Shape() {
		out = binary.BigEndian.AppendUint32(out, uint32(d))
	}
	if t.DType() != tensor.Float32 {
		return append(out, t.Bytes()...)
	}
	for _, v := range tensor.Data[float32](t) {
		out = binary.BigEndian.AppendUint32(out, math.Float32bits(v))
	}
	return out
}

func filled(dtype, what string, shape []int) (*tensor.Tensor, error) {
	n, err := tensor.Elements(shape)
	if err != nil {
		return nil, err
	}
	v := make([]float64, n)
	for i, x := range ramp(n) {
		v[i] = float64(x)
		switch what {
		case "nan":
			if i == n/2 {
				v[i] = math.NaN()
			}
		case "inf":
			if i == n/2 {
				v[i] = math.Inf(-1)
			}
		case "huge":
			v[i] *= 3e38
		case "count":
			v[i] = float64(i)
		case "mod4":
			v[i] = float64(i % 4)
		case "onehot":
			v[i] = 0
			if i%4 == i/4%4 {
				v[i] = 1
			}
		}
	}
	switch dtype {
	case "float32":
		return tensor.FromFloat64s(tensor.Float32, v, shape...)
	case "float64":
		return tensor.FromFloat64s(tensor.Float64, v, shape...)
	case "int64":
		t := tensor.New(tensor.Int64, shape...)
		for i, x := range v {
			tensor.Data[int64](t)[i] = int64(x)
		}
		return t, nil
	case "uint8":
		t := tensor.New(tensor.Uint8, shape...)
		for i := range v {
			tensor.Data[uint8](t)[i] = uint8(37 * i)
		}
		return t, nil
	}
	return nil, fmt.Errorf("no element type %q", dtype)
}

// ramp is n numbers between −1 and 1 that look random and are the same ever.
func ramp(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(math.Sin(float64(i*i%7919) + 0.5*float64(i)))
	}
	return v
}

func mlp(batch string, bump float32) *onnxpb.ModelProto {
	sizes := []int{16, 32, 32, 4}
	var nodes []*onnxpb.NodeProto
	var consts []*onnxpb.TensorProto
	from := "x"
	for i, in := range sizes[:3] {
		out := sizes[i+1]
		w := ramp(in * out)
		for k := range w {
			w[k] = w[k]/4 + bump*float32(k%3)
		}
		wn, bn, yn := fmt.Sprintf("w%d", i), fmt.Sprintf("b%d", i), fmt.Sprintf("h%d", i)
		if i == 2 {
			yn = "logits"
		}
		consts = append(consts, constant(wn, w, out, in), constant(bn, ramp(out), out))
		gemm := node("Gemm", fmt.Sprintf("fc%d", i), []string{from, wn, bn}, yn)
		gemm.Attribute = []*onnxpb.AttributeProto{intAttr("transB", 1)}
		nodes = append(nodes, gemm)
		if i < 2 {
			from = "r" + yn
			nodes = append(nodes, node("Relu", "", []string{yn}, from))
		}
	}
	return model(nodes, consts, value("x", batch+" 16"), value("logits", batch+" 4"))
}

func model(nodes []*onnxpb.NodeProto, consts []*onnxpb.TensorProto, in, out *onnxpb.ValueInfoProto) *onnxpb.ModelProto {
	return &onnxpb.ModelProto{
		IrVersion:   proto.Int64(8),
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: proto.Int64(14)}},
		Graph: &onnxpb.GraphProto{Name: proto.String("g"), Node: nodes, Initializer: consts,
			Input: []*onnxpb.ValueInfoProto{in}, Output: []*onnxpb.ValueInfoProto{out}},
	}
}

func node(op, name string, in []string, out string) *onnxpb.NodeProto {
	n := &onnxpb.NodeProto{OpType: proto.String(op), Input: in, Output: []string{out}}
	if name != "" {
		n.Name = proto.String(name)
	}
	return n
}

func intAttr(name string, v int64) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_INT.Enum(), I: proto.Int64(v)}
}

func constant(name string, v []float32, shape ...int) *onnxpb.TensorProto {
	p := &onnxpb.TensorProto{}
	if err := proto.Unmarshal(onnx.EncodeTensor(name, tensor.Of(v, shape...)), p); err != nil {
		panic(err)
	}
	return p
}

// value is a float32 value whose shape is words: numbers and names.
func value(name, shape string) *onnxpb.ValueInfoProto {
	s := &onnxpb.TensorShapeProto{}
	for _, w := range strings.Fields(shape) {
		d := &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: w}}
		if n, err := strconv.Atoi(w); err == nil {
			d.Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: int64(n)}
		}
		s.Dim = append(s.Dim, d)
	}
	return &onnxpb.ValueInfoProto{Name: proto.String(name), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
		TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(tensor.Float32)), Shape: s}}}}
}
