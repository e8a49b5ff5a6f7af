"""What a model makes of requests that differ in nothing but their values: found once, before anything is computed."""
