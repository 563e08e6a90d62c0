"""What a network is: its layers, shapes, parameters, initial weights, and the layout of these in each framework.

Imports numpy and no framework; every other room may import it.
"""
