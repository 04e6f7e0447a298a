"""What our networks are compared with: Paddle running PaddleOCR's own code, live or on record.

`program.py` runs an export, `network.py` a network of a PaddleOCR checkout, both in a Paddle
process (`session.py`, `worker.py`); `recorded.py` reads what such a network gave earlier.
"""
