"""Paddle's files, read without Paddle."""
