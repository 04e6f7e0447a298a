"""Classifiers of text direction and page orientation."""
