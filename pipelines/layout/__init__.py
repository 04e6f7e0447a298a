"""Layout analysis: a page to its regions, such as texts, titles, tables and figures."""
