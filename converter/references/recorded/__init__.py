"""Records of what PaddleOCR's networks computed from seeded weights."""
