"""The index directory: one `manifest.json` and the files that it names.

manifest.py    what an index says about itself
schema.py      its tables: texts, places, documents, groups, words
content.py     what goes in and comes out
texts.py       writes the texts, vectors.py the vectors, impacts.py what words are worth
assemble.py    all of it together, from documents; journal.py knows what was embedded before
write.py       puts a new index in place, atomically; lock.py lets one writer in
merge.py       several indexes as one
open.py        opens one, verified, for any number of threads and processes
snapshot.py    one state of it, as a search sees it; allowed.py what filters let through
live.py        documents added and removed in place; changes.py in the tables, live_state.py for
               readers
stems.py       words as the tables have them
versions.py    versions compare as versions
inspect.py     what is in an index, what is wrong with it and how two differ; cli.py shows it
"""
