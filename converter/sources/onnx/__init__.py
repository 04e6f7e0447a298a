"""ONNX files as sources: read, checked, and reduced to the same program as Paddle's formats."""
