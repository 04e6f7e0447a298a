"""Formula recognition: image to LaTeX."""
