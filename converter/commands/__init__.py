"""The commands of `python -m converter`, one module each: `parser()` and `run(options)`."""
