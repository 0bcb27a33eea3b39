"""Training: RecBole's trainers with hooks, checkpoints, freezing."""
