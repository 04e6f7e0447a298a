"""Whole pages read with Paddle and with PyTorch, and compared.

This is the only package of the converter that imports `pipelines`.
"""
