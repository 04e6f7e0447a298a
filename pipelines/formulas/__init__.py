"""What a formula says: images of formulas -> tokens -> LaTeX."""
