package convert_test

import (
	"context"
	"fmt"
	"log"

	"bilinc/convert"
	"bilinc/convert/onnx"
)

// A model is read, planned for a quarter of its parameters and converted.
func Example() {
	ctx := context.Background()
	model, err := onnx.Read("../testdata/models/fashion-mlp.onnx")
	if err != nil {
		log.Fatal(err)
	}
	plan, err := convert.NewPlan(ctx, model, convert.Options{Ratio: 4, Structure: convert.LowRank})
	if err != nil {
		log.Fatal(err)
	}
	small, report, err := convert.Apply(ctx, model, plan, convert.ApplyOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for _, l := range report.Layers {
		fmt.Println(l.Name, l.Action, l.Terms)
	}
	fmt.Println(report.ParamsAfter*4 <= report.ParamsBefore, len(small.Graph.Outputs))
	// onnx.Write(small, "small.onnx", onnx.WriteOptions{}) writes the file.

	// Output:
	// /0/Gemm lowrank 127
	// /2/Gemm lowrank 109
	// /4/Gemm dense 0
	// true 1
}
