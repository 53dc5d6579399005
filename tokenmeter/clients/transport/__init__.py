"""The HTTP libraries' hooks: each request becomes an attempt of its call, and each body is read as it passes.

Installed by `tokenmeter.clients.install_all` and used by the SDK adapters. Read `attempts.py` first, then `tee.py`.
"""
