"""What is fast, measured: taut on repositories of up to 2,000 applications, beside the floor of the same machine in the same run."""
