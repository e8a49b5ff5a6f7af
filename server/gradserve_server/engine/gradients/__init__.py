"""Gradient, from its request to its answer: of one, of several in a batch, and of each row by itself."""
