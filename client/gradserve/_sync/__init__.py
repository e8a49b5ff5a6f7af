# Written by client/generate.py from gradserve/_async/__init__.py: edit that, and run `make sync`.
"""What both clients do, written once, awaiting: `client/generate.py` writes `_sync` from it."""
