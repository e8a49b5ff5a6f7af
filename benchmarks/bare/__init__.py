"""A gRPC server that computes Forward and Gradient of one net and does nothing else.

It is what a server like this one can reach at most: on uvloop, with Gradserve's messages, torch's kernels and batches
of what is just arriving, but without a check, a name, a version, an option, a deadline, a fair queue, a count or an
error. A Gradient is by the input of one row: of cross_entropy, or of the output weighted by a vector.
"""
