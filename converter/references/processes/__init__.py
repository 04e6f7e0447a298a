"""Child processes in which foreign libraries run what strangers wrote."""
