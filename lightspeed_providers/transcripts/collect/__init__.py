"""`lightspeed collect`: what lies in the storage directories goes to the operator's destination.

cli.py           the command, and how it runs until it is stopped
config.py        its settings; settings.py reads them from a file, the environment and options
collector.py     one round: find, pack, send, remember, remove
files.py         which files may go, and what they were when they were looked at
archive.py       files streamed into one tar.gz on disk
destination.py   an archive streamed to the server, and what counts as accepted
attempts.py      when a request is made again
sent.py          what the server has accepted
removal.py       how an accepted file goes without taking a newer one along
lock.py          one collector at a time in a storage

It is a process of its own and at-least-once: a file is removed only after the server accepted an
archive that holds it as it still is. Killed anywhere, the next round goes on.
"""
