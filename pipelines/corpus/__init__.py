"""Reading a corpus: many files, on many cores and machines, into Parquet and JSON."""
