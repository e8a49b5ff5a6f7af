"""How a Client waits: it holds up the thread that calls. Each module has a twin of the same names in `_event_loop`."""
