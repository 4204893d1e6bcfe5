"""How well the documentation search finds: questions with known answers in, numbers out.

questions.py   reads question files, and says which line is wrong
searching.py   what is measured: anything that finds passages for a question
searchers.py   the searches over an index, each side alone and together
ranks.py       where the expected pages and passages came
metrics.py     what those ranks are worth
certainty.py   confidence intervals, paired tests, and the threshold that separates best
results.py     what a run leaves behind, in `results.json`
run.py         asks every search every question
summary.py     means, differences and times over all questions
compare.py     two runs, question by question
gate.py        the least quality that a pipeline asks for
table.py       results as tables, for a terminal and as Markdown
picture.py     results as one picture, of the panels in panels.py
report.py      prints and writes both
cli.py         `lightspeed rag evaluate` and `lightspeed rag compare`
"""
