"""The known models: cards read from `configs/`, dictionaries, tokenizers, processing settings."""
