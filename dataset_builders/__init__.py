"""Makes data sets of interactions and item features: ``python -m dataset_builders --help``."""
