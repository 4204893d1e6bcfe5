"""Trains heads for shields of kind `examples`.

cli.py       `lightspeed shields train`
data.py      reads the texts
learning.py  embeds, cross-validates by family, chooses the threshold, fits
outcome.py   how good the head is on families that it did not see
table.py     the outcome as a table
"""
