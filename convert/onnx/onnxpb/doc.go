// Package onnxpb holds the protobuf types of the ONNX format, generated from
// onnx.proto, and nothing else. Tests alone use them, to compare what package
// wire reads and writes.
package onnxpb

//go:generate protoc -I ../../.. --go_out=../../.. --go_opt=module=bilinc convert/onnx/onnxpb/onnx.proto
