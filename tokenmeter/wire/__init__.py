"""Vendors' wire formats as data, and reading usage by them. Start with `extract.py`.

formats/*.toml     one file for each family of formats: places of usage, model, error and text
formats.py         reads those files; explains every key
extract.py         an answer -> `Extracted`
stream_reader.py   the events of a stream -> `Extracted`
usage_reader.py    one format in one vendor's dialect, compiled
events.py          bytes of a stream -> events
request_params.py  a request body -> the parameters that choose a price
"""
