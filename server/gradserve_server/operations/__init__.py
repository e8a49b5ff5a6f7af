"""What a model is asked to compute and what it answers, in NumPy arrays: neither wire messages nor torch."""
