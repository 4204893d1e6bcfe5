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
spilled = _meter.create_counter(
    "ls_transcripts_spilled_total",
    description="Turns left in a file at shutdown, because the database was away.",
)
recovered = _meter.create_counter(
    "ls_transcripts_recovered_total",
    description="Turns written from such files; they count as written too.",
)
