"""Pages drawn by code, whose blocks, order, texts and tables are known."""
