"""A network as one ONNX file: image in, labels out."""
