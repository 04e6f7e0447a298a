"""ONNX Runtime in a process of its own, as the reference of networks that were ONNX files."""
