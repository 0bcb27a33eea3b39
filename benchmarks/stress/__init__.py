"""Models under stress: features that are missing, noisy or wrong, items that are new."""
