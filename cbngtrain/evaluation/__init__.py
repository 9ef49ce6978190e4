"""
How good a network is, and whether it is better than another: measures, intervals, plots.

A program of its own. It imports nothing of the rest of the project, nobody imports it, and it
is met on a command line: ``python -m cbngtrain.evaluation PROGRAM ARGS…``.
"""
