"""What a network is: its layers, shapes, parameters, initial weights, and the layout of these in each framework.

Core: imports numpy, no framework and no extra; every other room may import it.
"""
