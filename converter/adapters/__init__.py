"""Inputs and calls of the networks that take more than an image."""
