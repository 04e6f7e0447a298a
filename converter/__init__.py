"""Paddle files to verified PyTorch weights; importable without Paddle."""

__version__ = "0.1.0"
