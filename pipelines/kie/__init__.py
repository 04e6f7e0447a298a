"""Key information: classes of the texts of a page, and which answers belong to which questions."""
