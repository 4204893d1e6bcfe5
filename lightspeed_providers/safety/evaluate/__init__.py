"""How good shields are: texts with known answers in, numbers with their certainty out.

texts.py      reads texts with what should become of them, and says which line is wrong
chosen.py     which shields are measured, ready to be asked
judging.py    asks every shield about every text
rates.py      shares with their confidence intervals, and percentiles of times
decisions.py  how often what was blocked should have been, by shield, label, family and stage
spans.py      what of marked personal data a redaction took out
redactions.py how much of it, by entity
results.py    what a run leaves behind, in `results.json`
gate.py       the least quality that a pipeline asks for
table.py      results as tables
picture.py    the ROC curves
report.py     prints and writes all of it
cli.py        `lightspeed shields evaluate`
"""
