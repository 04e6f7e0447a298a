"""Reading order: an XY cut that knows titles, captions, and blocks across columns.

The rules are those of PaddleX 3, inference/pipelines/layout_parsing/xycut_enhanced. The entry is
`reading_order` in `areas.py`.
"""
