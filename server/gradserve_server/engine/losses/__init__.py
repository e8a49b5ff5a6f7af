"""Losses: those there are, what a request gives each of them, and their values with their derivatives."""
