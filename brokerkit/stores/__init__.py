"""What survives a restart, one file for each."""
