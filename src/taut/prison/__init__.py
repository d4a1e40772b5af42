"""Where what strangers wrote is run: processes that see, reach and use next to nothing."""
