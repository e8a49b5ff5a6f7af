"""CheckGradients: what derivatives are held against, and how far they may be off."""
