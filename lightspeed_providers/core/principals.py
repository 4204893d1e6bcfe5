"""Who is asking, in the words that all rooms share."""

ANONYMOUS = "anonymous"
"""The principal of every caller where the server authenticates nobody."""


def principal_of(user: object) -> str:
    """Return the principal of the host's user object, `ANONYMOUS` where it is none.

    A client can put any JSON in the place of a user (the provider data header), never an object
    that has a principal.
    """
    principal = getattr(user, "principal", None)
    return principal if isinstance(principal, str) and principal else ANONYMOUS
