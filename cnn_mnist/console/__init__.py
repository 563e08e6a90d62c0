"""What a command line takes and prints, the same in both packages.

Core: imports no framework and no extra; the command lines may import it.
"""
