"""The Open Inference Protocol, in Triton's dialect: a translation of gradserve.v1, and nothing of its own.

NAME is a model's Forward, NAME.gradient its Gradient by the input. Both go through the same batches, limits, rights and
counts as the calls of gradserve.v1.
"""
