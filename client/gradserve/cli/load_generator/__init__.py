"""Calls in great number: how they are sent, how each ended, and what that comes to."""
