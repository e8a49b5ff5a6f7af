"""Products of vectors with derivatives: Jvp with those of the output, Hvp with second derivatives."""
