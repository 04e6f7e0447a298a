"""Readers of model files: checkpoints, exported programs and archives, without Paddle."""
