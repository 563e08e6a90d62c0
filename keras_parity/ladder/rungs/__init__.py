"""The eleven rungs that prove this project's own networks the same.

The command, the report and diagnosis may import it.
"""
