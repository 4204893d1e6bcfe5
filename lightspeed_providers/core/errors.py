"""Errors with the HTTP status that a client should see.

Llama Stack's server answers any exception that has an integer `status_code` with that status and
the exception's text as an OpenAI-shaped error, so no import of the host is needed here.
"""


class LightspeedError(Exception):
    """A fault told to a client in one line: what is wrong, with which value, what to do."""

    status_code: int = 500

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        if status_code is not None:
            self.status_code = status_code
        self.code = code or code_of(self.status_code)
        self.retry_after_s = retry_after_s

    @property
    def body(self) -> dict[str, str]:
        """The error as a provider's client has it; Llama Stack logs those without a stack trace."""
        return {"code": self.code, "message": str(self)}


def code_of(status: int) -> str:
    """Return the word by which OpenAI's clients tell errors of a status apart."""
    if status == 429:
        return "rate_limit_exceeded"
    return "server_error" if status >= 500 else "invalid_request_error"


class InvalidRequestError(LightspeedError):
    """The request breaks a rule that the client can mend."""

    status_code = 400


class ForbiddenError(LightspeedError):
    """The operator switched this off, or the caller may not do it."""

    status_code = 403


class NotFoundError(LightspeedError):
    """What the request names does not exist, or not for this caller."""

    status_code = 404


class RequestTooLargeError(LightspeedError):
    """The request is larger than what is configured, or than the model can read."""

    status_code = 413


class UnprocessableError(LightspeedError):
    """The request is well formed and still can't be followed."""

    status_code = 422


class ModelLoadingError(LightspeedError):
    """A model is still being loaded; the same request works later."""

    status_code = 503


class UnavailableError(LightspeedError):
    """A part that the answer needs is gone: a model, an index, a database."""

    status_code = 503


class ConfigurationError(LightspeedError):
    """The configuration or the files it names are wrong; the start stops."""

    status_code = 500
