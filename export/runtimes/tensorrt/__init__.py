"""Both of NVIDIA's engines, TensorRT and TensorRT for RTX, by one implementation over two bindings.

``binding`` (which of the two, and what it says of itself), ``graph`` (an ONNX file as they take
it), ``record`` (what an engine is for), ``engine`` (building one), ``runtime`` (running one).
"""
