"""The command line `python -m pipelines`: one module per subcommand."""
