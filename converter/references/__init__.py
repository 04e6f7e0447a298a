"""The reference side of a proof: Paddle running an export or a checkout, or a record of it."""
