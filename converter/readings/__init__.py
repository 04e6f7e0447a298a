"""The proof end to end: the same pages read with Paddle and with PyTorch, and what differs.

Converting needs no pipeline, so nothing else in the converter imports `pipelines`; this package
does, and `converter.commands.prove` imports it when that command is run.
"""
