"""The command line `python -m converter`: one module per subcommand."""
