"""`make bench`: what metering adds to a call, beside the instrumentations of others. Read `__main__.py` first."""
