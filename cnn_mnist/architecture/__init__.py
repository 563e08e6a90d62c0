"""Descriptions of networks: layers, shapes, parameters, initial weights, and their layout in each framework.

Core: imports numpy, no framework and no extra; every other room may import it.
"""
