"""The other ways to a model, `/v1/chat/completions` and `/v1/completions`: guarded, or closed.

door.py        face: what stands before the host's inference router
config.py      whether it is guarded or closed
asking.py      a request as the shields leave it
places.py      where the texts of a request stand, and the request with other texts
chat.py        face: chat completions: their texts, their answers, their chunks
text.py        face: text completions: the same
answers.py     whole answers as the shields leave them
streaming.py   answers that are screened while they arrive
choice.py      … one of their choices
kind.py        what the two kinds of completions have in common
upstream.py    a model's answer, read ahead while something else is waited for
kept.py        face: the cleared completions that the host keeps
stores.py      face: the models that the host's vector stores ask
"""
