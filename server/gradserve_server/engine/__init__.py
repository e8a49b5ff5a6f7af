"""Everything that touches torch: building models, putting them on devices, computing with them."""
