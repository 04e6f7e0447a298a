"""From files to pages and pieces of them."""
