"""What operators can count about the documentation search; never what was asked."""

from opentelemetry import metrics

_meter = metrics.get_meter("lightspeed.product_rag")

searches = _meter.create_counter(
    "ls_rag_searches_total",
    description="Searches by outcome: found, nothing, refused or failed.",
)
duration = _meter.create_histogram(
    "ls_rag_search_duration_ms", unit="ms", description="Time of a search, its embedding included."
)
passages = _meter.create_histogram(
    "ls_rag_passages_returned", description="Passages that a search returned."
)
source_failures = _meter.create_counter(
    "ls_rag_source_failures_total",
    description="Indexes and stores that gave a search nothing, by reason: timeout or error.",
)
index_swaps = _meter.create_counter(
    "ls_rag_index_swaps_total",
    description="New indexes found while serving, by outcome: swapped or refused.",
)
rerank_failures = _meter.create_counter(
    "ls_rag_rerank_failures_total",
    description="Searches whose order was not judged again, by reason: loading, timeout or error.",
)
