"""What the SDK adapters share: hooks into classes, the current call, groups of requests, streams and tasks.

Called by the modules of `tokenmeter.clients` and by `transport/`. Read `hooks.py` first, then `current_call.py`.
"""
