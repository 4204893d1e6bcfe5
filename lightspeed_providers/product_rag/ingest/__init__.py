"""Documentation in, index out.

demo.py               obtains the demo product's documentation
sources.py            which files of a directory are read
parse.py              picks the parser for a file
restructuredtext.py   reStructuredText, with sphinx_markup.py for what Sphinx adds to it
render.py             its nodes as readable text
markdown.py           Markdown
page.py               what every parser returns
chunk.py              a page as passages
tokens.py             how much of a text the embedding model reads
address.py            a passage's public address
build.py              all of it, on all cores, into an index directory
progress.py           how a build shows itself
"""
