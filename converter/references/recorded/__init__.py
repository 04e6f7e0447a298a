"""Proof without Paddle: records of what PaddleOCR's own networks computed."""
