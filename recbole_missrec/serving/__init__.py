"""A trained model at work: recommendations, explanations, new items, exports, a local service."""
