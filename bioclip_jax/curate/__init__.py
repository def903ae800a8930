"""Build, align, verify and describe training shards."""
