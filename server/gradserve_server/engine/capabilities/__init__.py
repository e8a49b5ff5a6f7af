"""What a server offers and what each of its models can do, tried before anybody asks."""
