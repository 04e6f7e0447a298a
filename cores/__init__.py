"""How many threads the frameworks use, how they wait, and what memory a process keeps.

Standard library only, so that it can be imported before PyTorch and Paddle are.
"""
