"""Between the wire and the server: each servicer reads requests, asks, and writes replies, and nothing else."""
