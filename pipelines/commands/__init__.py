"""The commands of `python -m pipelines`, one module each: `parser()` and `run(options)`."""
