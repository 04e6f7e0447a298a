"""Converted networks as files of other programs, each compared with the network before it stays."""
