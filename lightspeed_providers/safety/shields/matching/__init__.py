"""Patterns in texts and streams: what `patterns` and `prompt_leak` look with.

normalise.py, lookalikes.py  the form of a text in which patterns are looked for
unwrap.py                    what else a text may be read as: decoded, backwards, respelled
linear.py                    regular expressions that take time linear in the text
partial*.py                  where a text's tail may still become a match
rules.py                     what is forbidden, and what excuses it
expressions.py, phrases.py   … by expressions, and by long lists of phrases (keys.py, gaps.py)
scanner.py                   the same for streams (reading.py, tails.py)
injection_expressions*.py    the list `injection`
"""
