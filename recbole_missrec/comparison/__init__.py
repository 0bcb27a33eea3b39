"""Many runs: planned, executed, chosen among; one process a run, nothing computed twice."""
