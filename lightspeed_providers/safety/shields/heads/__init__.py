"""Logistic heads over embeddings: what `examples` and the topic shield judge with.

logistic.py  a head, fitted and applied
trained.py   one with its features, in a file
wording.py, spelling.py, readings.py  features beside the vector
parts.py, windows.py  which parts of a text are judged
asking.py    what a language model is asked where a head is unsure
"""
