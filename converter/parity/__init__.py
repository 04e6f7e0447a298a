"""Measures, limits and verdicts of a comparison between Paddle and PyTorch."""
