"""What a command line takes and prints, the same in both packages.

Imports no framework; the command lines may import it.
"""
