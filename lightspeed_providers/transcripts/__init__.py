"""Every turn and the users' feedback on it, as an external API of Llama Stack.

The API
    registration.py                      what the host finds on this package
    api.py, models.py                    as other rooms and the router see it
    fastapi_routes.py, parameters.py     the routes
    transcripts.py, questions.py         the face: who is asking what, what is configured
    roles.py                             who may see and delete what
What is kept
    recording.py, rows.py, storable.py   a finished turn as a row
    user_ids.py                          users as keyed hashes
    writer.py, spill.py                  the bounded queue between a request and the database
    feedback.py, feedback_summary.py     the rules of feedback, and what it adds up to
    forgetting.py, retention.py          removal with every copy, asked for or by itself
    periodic.py, continuous_export.py    what goes on in the background
The store
    store.py, opening.py                 the store, and the database that settings mean
    database.py, schema.py, migrations.py   connections, tables, their versions
    adding.py, removal.py, changes.py    what is written, and in which order
    turn_queries.py, feedback_queries.py, search.py, words.py   what is read
Getting it out
    export/, collect/, report/, cli.py   files, archives for a server, a page to look at
"""

from importlib import import_module

_FOUND_IN = {
    "TRANSCRIPTS_API": "registration",
    "available_providers": "registration",
    "get_provider_impl": "registration",
    "Transcripts": "api",
    "create_router": "fastapi_routes",
}


def __getattr__(name: str) -> object:
    # Looked up when asked for: the command line needs this package and not the host.
    if name not in _FOUND_IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_FOUND_IN[name]}"), name)
