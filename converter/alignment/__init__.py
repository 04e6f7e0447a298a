"""Matching the layers of an export, whose names mean nothing, with those of a network."""
