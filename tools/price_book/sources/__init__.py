"""Reads the price lists that other projects publish, and adds what is new in them to the facts.

`table.py` names every source; a reader is a module with one function from a file to readings. `reading.py` says what a
reading is and when a source is left out as a whole; `new_facts.py` compares readings with the facts.
"""
