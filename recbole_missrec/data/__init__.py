"""Interactions and item features: the feature file and the data set that reads it."""
