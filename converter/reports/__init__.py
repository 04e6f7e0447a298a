"""The parity report as JSON, Markdown and HTML."""
