"""Table recognition: the image of a table to cells with texts, and to HTML."""
