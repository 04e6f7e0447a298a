"""Which layer is the first to differ, and why: both sides layer by layer, then experiments."""
