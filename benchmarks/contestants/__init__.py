"""The contestants: each module runs as a process that prints its figures as JSON on its last line."""

BATCH_SIZE = 64
STEPS = 300
"""Steps of the timed epoch, and of the untimed epoch before it."""
