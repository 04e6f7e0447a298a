"""Documents: pages to blocks in reading order, and to Markdown, HTML, Word, Excel and JSON."""
