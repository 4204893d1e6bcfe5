"""Turns and feedback as files that others read, kept up with what is added and removed.

exporter.py   what the command line and the server's timer run
run.py        one run: which changes go where, and when they count as done
state.py      how far a directory is, what it holds, and who may write into it now
tree.py       one JSON file each, as Lightspeed's exporters read them
contract.py   what such a file holds
names.py      file and directory names that an id can't break out of
parts.py      many records a file: JSONL, Parquet, CSV
jsonl.py, parquet.py, spreadsheet.py   how a part is written and read in each of them
durable.py    files that are there whole, or not at all
"""
