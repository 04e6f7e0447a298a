"""How networks that need more than an image are called, on PaddleOCR's side and on ours.

One file per head; `registry.py` finds it by the head's name, and `running.py` runs our networks.
"""
