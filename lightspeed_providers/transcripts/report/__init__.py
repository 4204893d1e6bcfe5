"""Turns and feedback as one page that people look at: `lightspeed transcripts report`.

cli.py         the command
making.py      from a store to a page
period.py      the time that is looked at, cut into even steps
gathering.py   chunks of turns into figures, in little memory
figures.py     what is known of a period, as plain values
feedback.py    counts of feedback into figures
wordings.py    how often each question was asked, in bounded memory
grouping.py    questions that mean the same
likeness.py    how alike two questions are, by meaning or by wording
shares.py      a part of a whole, and how sure it is
texts.py       texts and numbers as they are shown
canvas.py      a plot as SVG that takes its colours from the page
charts.py      the kinds of plot
panels.py      a plot with its words, its legend and its table
questions.py   the tables of questions
page.py        the page, by page.html.j2
"""
