"""Arguments and output of the commands in both packages.

Core: imports no framework and no extra; the command lines may import it.
"""
