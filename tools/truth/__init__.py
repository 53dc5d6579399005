"""Makes cases of the recorded calls in a folder, and reports which of them our counts miss. See README.md."""
