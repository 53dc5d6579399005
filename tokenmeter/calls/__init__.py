"""The life of one call, from the request's address to a record with a cost. Read `lifecycle.py` first.

    routing      address → Route: provider, region, wire format          asked by the hooks of `clients/`
    lifecycle    opens an OpenCall in its scope, with its span           hooks by `meter.open_call`, users by `call()`
    opencall     collects attempts, status, what is known of the request
    response     keeps what comes back: object, text, body or stream     fed by `clients/transport/`
    lifecycle    settles once: now, or later from the `deferred` queue
    settle       reads the vendor's usage, counts what is missing (`calibrator` corrects), makes the Record
    lifecycle    hands the record to the hand-made call around it, or to span, scope and sinks
    billing      record → Cost, when the record is asked for it

Beside it: `scope` and `by_hand` are the blocks that users write (`block` makes them context manager and decorator
alike), `context` says what is current, `marks` says which meter an object belongs to, and `protocols` says what lower
floors may ask of a meter, `sampler` which calls calibration counts. `Lifecycle.take` takes records that were made
elsewhere.
"""
