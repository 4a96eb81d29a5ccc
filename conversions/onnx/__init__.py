"""ONNX files become modules of torch, without onnxruntime."""
