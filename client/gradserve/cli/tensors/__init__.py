"""Tensors into and out of the command line: files, standard input, and text."""
