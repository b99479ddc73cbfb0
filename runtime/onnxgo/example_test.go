package onnxgo_test

import (
	"fmt"
	"log"

	onnx "github.com/owulveryck/onnx-go"
	"github.com/owulveryck/onnx-go/backend/testbackend"
	"gorgonia.org/tensor"

	"bilinc/runtime/onnxgo"
)

// Where onnx-go's own examples say gorgonnx.NewGraph(), this one says
// onnxgo.NewGraph(): the rest stays as it is.
func Example() {
	backend := onnxgo.NewGraph()
	model := onnx.NewModel(backend)
	b := testbackend.GetOpTypeTests("Relu")[0]().ModelB // or os.ReadFile("model.onnx")
	if err := model.UnmarshalBinary(b); err != nil {
		log.Fatal(err)
	}
	input := tensor.New(tensor.WithShape(1, 1, 4), tensor.WithBacking([]float32{-1, 2, -3, 4}))
	if err := model.SetInput(0, input); err != nil {
		log.Fatal(err)
	}
	if err := backend.Run(); err != nil {
		log.Fatal(err)
	}
	output, err := model.GetOutputTensors()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(output[0].Data())
	// Output: [0 2 0 4]
}
