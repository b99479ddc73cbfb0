package finetune_test

import (
	"context"
	"fmt"
	"log"

	"bilinc/convert"
	"bilinc/convert/dataset"
	"bilinc/convert/onnx"
	"bilinc/finetune"
	"bilinc/runtime/kernel"
)

// A compressed model learns from the original, without labels.
func Example() {
	ctx := context.Background()
	original, err := onnx.Read("../testdata/models/fashion-mlp.onnx")
	if err != nil {
		log.Fatal(err)
	}
	pool := kernel.NewPool(0)
	plan, err := convert.NewPlan(ctx, original, convert.Options{Ratio: 16, Structure: convert.LowRank, Pool: pool})
	if err != nil {
		log.Fatal(err)
	}
	small, _, err := convert.Apply(ctx, original, plan, convert.ApplyOptions{Pool: pool})
	if err != nil {
		log.Fatal(err)
	}

	set, err := dataset.Open([]string{"images=../testdata/data/fashion-train-images-idx3-ubyte.gz"}, dataset.Options{Samples: 2000})
	if err != nil {
		log.Fatal(err)
	}
	defer set.Close()
	rows, err := set.Bind(small.Graph)
	if err != nil {
		log.Fatal(err)
	}
	// The layers that were replaced, so that factors get rates of their own.
	layers, err := convert.ReadLayers(small)
	if err != nil {
		log.Fatal(err)
	}
	o := finetune.Options{Epochs: 3, Batch: 32, LR: 1e-4, Pool: pool}
	for _, l := range layers {
		o.Groups = append(o.Groups, finetune.Group{Layer: l.Name, A: l.A, B: l.B, Terms: l.Terms, In: l.In, Output: l.Value,
			M1: l.Shape.A[0], N1: l.Shape.A[1], M2: l.Shape.B[0], N2: l.Shape.B[1]})
	}
	trainer, err := finetune.New(small, original, rows.Picker(), o)
	if err != nil {
		log.Fatal(err)
	}
	_, history, err := trainer.Run(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("loss:", history.Loss)
	fmt.Println("closer to the original:", *history.BestLoss < 0.8**history.StartLoss)
	// Output:
	// loss: kl
	// closer to the original: true
}
