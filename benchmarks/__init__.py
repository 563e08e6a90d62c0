"""Speed benchmarks: contestants run in turns, each in a separate process, and are compared by ratios in a round."""
