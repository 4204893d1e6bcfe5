"""Lightspeed providers for Llama Stack.

The map, top to bottom; a room never imports another room:

    provider.py     what Llama Stack loads: the list of our providers
    cli.py          the `lightspeed` command
    safety/         shields, routed by direction
    product_rag/    documentation in, cited passages out
    responses/      wraps the stock Responses API: prompt, shields, retrieval, citations, record
    transcripts/    every turn and the users' feedback
    identity/       who a request's user is, and what is whose
    llama_cpp/      the embedded language model
    embeddings/     the embedding model
    core/           words that all rooms share
"""
