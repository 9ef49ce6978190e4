"""
The embedded core: the native core's programs, in Python.

A program of its own. It imports nothing of the rest of the project, nobody imports it, and it
is met on a command line: ``python -m cbngtrain.engine PROGRAM ARGS…``.
"""
