"""Documentation in, index out.

demo.py               obtains the demo product's documentation
archives.py           a directory, an archive or a file as a directory (unpack.py, archive_*.py)
sources.py            which files of a directory are read
parse.py              picks the parser for a file; decode.py finds out its encoding
html.py               HTML (html_*.py)
markdown.py           Markdown and MyST (myst_*.py), plain text
restructuredtext.py   reStructuredText, with sphinx_markup.py for what Sphinx adds to it
render.py             its nodes as readable text
asciidoc.py           AsciiDoc (asciidoc_*.py)
pdf.py                PDF (pdf_*.py)
front_matter.py       what a page says of itself before its text
layout.py             how code, tables and notes look in a passage
page.py               what every parser returns
chunk.py              a page as passages
tokens.py             how much of a text the embedding model reads
address.py            a passage's public address
reading.py            files as documents, on all cores
build.py              all of it, into an index directory
update.py             only what differs, into an index that is there
progress.py           how a build shows itself
"""
