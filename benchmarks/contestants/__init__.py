"""What is raced: each module is a process that prints its figures as JSON on its last line."""

BATCH_SIZE = 64
STEPS = 300
"""Of an epoch that is timed; one of as many goes before it."""
