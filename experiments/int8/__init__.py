"""onnx-int8 against torch and onnx on one thread: `python -m experiments.int8`."""
