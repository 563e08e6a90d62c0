"""Speed benchmarks: contestants run one after another in separate processes; ratios within a round compare them."""
