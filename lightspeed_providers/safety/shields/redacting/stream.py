"""Rewrites a text while it arrives."""

from lightspeed_providers.safety.shields.base import Scanned, Scanner
from lightspeed_providers.safety.shields.redacting.rewrite import Rewriter


class RedactionScanner(Scanner):
    """Holds back what may still become part of a value; a key of any length needs no memory."""

    def __init__(self, rewriter: Rewriter) -> None:
        self._rewriter = rewriter

    def push(self, text: str) -> Scanned:
        """Return what of the text is decided, rewritten."""
        return self._scanned(text, final=False)

    def end(self) -> Scanned:
        """Return the rest, rewritten."""
        return self._scanned("", final=True)

    @property
    def held(self) -> str:
        """The text that is undecided; of a key that goes on nothing is kept."""
        return self._rewriter.held.decode(errors="surrogatepass")

    def _scanned(self, text: str, *, final: bool) -> Scanned:
        data, replaced = self._rewriter.push(text.encode(errors="surrogatepass"), final=final)
        return Scanned(data.decode(errors="surrogatepass"), dict(replaced))
