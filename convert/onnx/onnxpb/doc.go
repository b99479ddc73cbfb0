// Package onnxpb holds the protobuf types of the ONNX format, generated from
// onnx.proto, and nothing else.
//
// Everything that gives them a meaning is in package onnx, one folder up.
package onnxpb

//go:generate protoc -I ../../.. --go_out=../../.. --go_opt=module=bilinc convert/onnx/onnxpb/onnx.proto
