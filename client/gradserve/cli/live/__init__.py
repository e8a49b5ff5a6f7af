"""What a running server does, read off its metrics."""
