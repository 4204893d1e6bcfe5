"""How `redaction` finds and rewrites values.

entities/   what each kind of value looks like, and its proof
find.py     where a text holds values
rewrite.py  the text with placeholders in their place
stream.py   the same while it arrives
numbers.py  one number for a value through a conversation
"""
