"""How many threads the frameworks use and how they wait: shared by the command lines.

Standard library only, so that it can be imported before PyTorch and Paddle are.
"""
