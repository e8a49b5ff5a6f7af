"""Jacobian: the whole derivative of each row's output, and the ways to it."""
