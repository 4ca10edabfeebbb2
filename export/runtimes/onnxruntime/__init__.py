"""ONNX Runtime on the CPU and on NVIDIA GPUs.

``runtime`` (what is installed, how a model is opened), ``session`` (one on the CPU), ``cuda`` (one
on a GPU), ``node_times`` (its profile, read).
"""
