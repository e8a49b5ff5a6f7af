"""What both clients do, written once, awaiting: `client/generate.py` writes `_sync` from it."""
