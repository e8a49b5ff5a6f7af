"""What a model is made of: the layers that it may hold, the shapes that fit them, and how rows pass through them."""
