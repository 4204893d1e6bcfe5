"""`lightspeed collect`: send transcripts and feedback to the operator's server."""

import logging
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightspeed_providers.core.progress import shown_progress

if TYPE_CHECKING:
    from .config import CollectorConfig
    from .stop import Stop

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def collect(
    config: Annotated[
        Path | None,
        typer.Option(help="YAML file of settings; the environment and options come before it."),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Send what is there and end, instead of periodically.")
    ] = False,
    url: Annotated[
        str | None, typer.Option(help="Server that takes archives. [env: LIGHTSPEED_INGRESS_URL]")
    ] = None,
    service: Annotated[
        str | None,
        typer.Option(help="Service named in the content type. [env: LIGHTSPEED_INGRESS_SERVICE]"),
    ] = None,
    destination: Annotated[
        str | None,
        typer.Option(
            metavar="raw|multipart",
            help="How the server wants an archive. [env: LIGHTSPEED_INGRESS_DESTINATION]",
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the bearer token. [env: LIGHTSPEED_INGRESS_TOKEN_FILE, or the token "
            "itself in LIGHTSPEED_INGRESS_TOKEN]"
        ),
    ] = None,
    transcripts_storage: Annotated[
        Path | None,
        typer.Option(help="Directory of transcripts. [env: LIGHTSPEED_TRANSCRIPTS_STORAGE]"),
    ] = None,
    feedback_storage: Annotated[
        Path | None,
        typer.Option(help="Directory of feedback. [env: LIGHTSPEED_FEEDBACK_STORAGE]"),
    ] = None,
    collection_interval: Annotated[
        float | None,
        typer.Option(help="Seconds between rounds; 7200. [env: LIGHTSPEED_COLLECT_INTERVAL]"),
    ] = None,
    cleanup: Annotated[
        bool | None,
        typer.Option(
            "--cleanup/--keep",
            help="Remove what was accepted (the default), or keep it and never send it twice. "
            "[env: LIGHTSPEED_COLLECT_CLEANUP]",
        ),
    ] = None,
) -> None:
    """Send transcripts and feedback to a server, until SIGTERM or Ctrl-C.

    A file is removed only after the server accepted an archive with it. It is safe to kill at any
    point, to repeat, and to run twice.

    Exit codes of --once: 0 sent or nothing to send, 1 failed, 2 wrong usage, 3 sent in part.
    """
    from .settings import load_config

    options: dict[str, object] = {
        "ingress_server_url": url,
        "ingress_content_service_name": service,
        "destination": destination,
        "ingress_server_auth_token_file": token_file,
        "transcripts_storage": transcripts_storage,
        "feedback_storage": feedback_storage,
        "collection_interval": collection_interval,
        "cleanup_after_send": cleanup,
    }
    settings = load_config(config, os.environ, options)
    if not settings.enabled:
        typer.echo("Nothing is collected: the setting `enabled` is false.", err=True)
        return
    raise typer.Exit(_run(settings, once=once))


def _run(config: "CollectorConfig", *, once: bool) -> int:
    from .stop import AbandonedError, Stop, stopped_by_signals

    _log_to_stderr(once=once)
    stop = Stop()
    try:
        with stopped_by_signals(stop):
            return _once(config, stop) if once else _periodically(config, stop)
    except AbandonedError:
        typer.echo("Stopped before all was sent: what was not accepted stays.", err=True)
        return 1 if once else 0


def _once(config: "CollectorConfig", stop: "Stop") -> int:
    from .collector import Collector

    with shown_progress() if sys.stderr.isatty() else nullcontext() as report:
        done = Collector(config, stop, report).collect()
    for fault in done.faults:
        typer.echo(f"lightspeed: {fault}", err=True)
    typer.echo(done.summary)
    return done.code


def _periodically(config: "CollectorConfig", stop: "Stop") -> int:
    from .collector import SENT, Collector

    log = logging.getLogger(__name__)
    collector = Collector(config, stop)
    while not stop.is_set():
        done = collector.collect()
        for fault in done.faults:
            log.error("%s", fault)
        log.info("%s", done.summary)
        failed = bool(done.faults or done.refused)
        wait_s = config.retry_interval if failed else config.collection_interval
        stop.wait(max(wait_s, done.retry_after_s))
    log.info("Stopped.")
    return SENT


def _log_to_stderr(*, once: bool) -> None:
    level = logging.WARNING if once else logging.INFO
    logging.basicConfig(
        level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    # Theirs name every request, and in detail its headers.
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
