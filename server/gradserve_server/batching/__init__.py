"""Requests on their way to a device: let in or refused, waiting in fair lines, computed in batches."""
