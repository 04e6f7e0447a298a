"""Networks as graphs of layers, so that a program and a module can be laid side by side.

`trace.py` writes down what a PyTorch module does, in the operations that `sources/program.py` reads
from Paddle's files; `layers.py` reduces either to its layers: the operations that own tensors, and
which of them feeds which.
"""
