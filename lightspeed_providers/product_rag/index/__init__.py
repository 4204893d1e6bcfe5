"""The read-only index directory: one `manifest.json` and the files that it names.

manifest.py   what an index says about itself
write.py      puts a new one in place, atomically
open.py       opens one, verified, for any number of threads and processes
"""
