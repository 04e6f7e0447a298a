"""Reading over HTTP: images and PDFs in, the JSON of the command line out."""
