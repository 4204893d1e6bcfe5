"""How `question_validity` tells what a question is about.

examples.py, generic.py  example questions: a team's own, and those of any product
reading.py               which parts of a text are judged
small_talk.py            greetings and thanks
names.py                 software that a text names
learning.py              what examples teach (judge.py, cutoffs.py)
glance.py                the quick stage, static vectors alone
weighing.py              follow-ups, and texts of several parts
model.py                 what a language model is asked about unclear cases
"""
