"""What operators can count about transcripts."""

from opentelemetry import metrics

_meter = metrics.get_meter("lightspeed.transcripts")

written = _meter.create_counter(
    "ls_transcripts_written_total", description="Turns committed to the transcript store."
)
dropped = _meter.create_counter(
    "ls_transcripts_dropped_total", description="Turns that were not stored, by reason."
)
late = _meter.create_counter(
    "ls_transcripts_late_total",
    description="Strict turns whose answer ended before their commit; they stay queued.",
)
