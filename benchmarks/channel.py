"""How the benchmarks' own clients connect."""

CHANNEL = (("grpc.max_receive_message_length", 64 * 1024**2), ("grpc.enable_retries", 0))
"""A channel's options: messages as large as the server's, and no call is tried again."""
