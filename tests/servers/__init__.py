"""Real servers for the tests: Git over HTTP(S) and SSH, and a forge with its registries."""
