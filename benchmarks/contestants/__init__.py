"""What is raced: each module is a process that prints its figures as JSON on its last line."""
