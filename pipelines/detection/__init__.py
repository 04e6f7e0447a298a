"""Where the lines of a page are: a network's maps -> boxes or polygons, one file an algorithm."""
