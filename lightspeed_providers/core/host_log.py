"""Stack traces in Llama Stack's log, as short ones.

The host draws each twice, once with the values of all variables of all frames. That holds the event
loop for seconds, during which nobody is answered.
"""

import logging

from rich.logging import RichHandler
from structlog.dev import ConsoleRenderer, plain_traceback
from structlog.stdlib import ProcessorFormatter


def draw_short_traces() -> None:
    """Let every handler that the host has made write stack traces as Python does."""
    loggers = [logging.getLogger(name) for name in logging.root.manager.loggerDict]
    for handler in {h for logger in (logging.root, *loggers) for h in logger.handlers}:
        if isinstance(handler, RichHandler):
            handler.rich_tracebacks = False
        if isinstance(handler.formatter, ProcessorFormatter):
            for processor in handler.formatter.processors:
                if isinstance(processor, ConsoleRenderer):
                    processor.exception_formatter = plain_traceback
