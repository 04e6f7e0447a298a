"""Decoders of detection maps, one file per algorithm."""
