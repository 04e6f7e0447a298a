"""OCR engines for other programs, each a module that the program finds by an entry point."""
