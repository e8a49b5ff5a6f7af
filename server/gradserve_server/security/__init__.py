"""Who may call what, and the files that say so. Nothing here knows gRPC."""
