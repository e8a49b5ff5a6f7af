"""How an AsyncClient waits: on the event loop. Each module has a twin of the same names in `_threads`."""
