"""Small helpers that know nothing of calls, used by every folder. Read `guard.py` first.

guard           the one place where an exception of our own code ends
fork            objects that start anew in a forked child process
bounded, empty  the one dict with a limit, the one empty mapping
at_exit         what happens to meters at the end of the program
data_files, toml_problems   catalog data as TOML or compiled JSON, and its problems, gathered
ids, text_tables            ids of calls; tables for a terminal
"""
