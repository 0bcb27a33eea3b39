"""Full-ranking evaluation with exact ties, per-user results, and paired comparison of models."""
