"""The commands, one file for each that has more than a few options."""
