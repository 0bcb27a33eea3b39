"""The SYNTHETIC shop ``pantry-sample``: its products, their pictures and its shoppers."""
