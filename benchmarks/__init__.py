"""Speed, measured: contestants in turn, each in a process of its own, and the ratios pair by pair."""
