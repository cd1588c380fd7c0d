"""Many runs: scores and reports, the paper's tables and figures, and fits without a network."""
