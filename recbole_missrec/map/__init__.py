"""A page to look at the interests of a trained model."""
