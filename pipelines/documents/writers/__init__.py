"""Writers of documents: Markdown, HTML, Word, Excel and JSON, and the pictures of pages."""
