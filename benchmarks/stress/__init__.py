"""What a model is worth when features are missing, noisy or new: ``python -m benchmarks.stress``."""
