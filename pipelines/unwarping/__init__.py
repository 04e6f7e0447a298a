"""Unwarping: the photograph of a bent or tilted page to a flat page."""
