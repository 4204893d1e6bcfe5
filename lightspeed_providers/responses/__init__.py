"""The Responses API, governed: one path from question to cited, guarded, recorded answer.

responses.py       face: admits, prompts, guards and retrieves, then delegates to the stock loop
profiles/          what makes an assistant one product's: which one holds for a request
admission.py       face: which requests may be answered, by which profile, model and prompt
input_guard.py     face: what a client sent, as the shields leave it
retrieving.py      face: passages for a question, before the model is asked
searching.py       face: vector stores as the stock loop searches them, never silently empty
search_results.py  face: what the model searched for, in the messages that bring it
answering.py       face: the stock loop's events on their way out: cited, recorded
interrupting.py    face: the stock loop's events, read by one task that can be stopped
cancelling.py      face: responses that are cancelled, or left over by a server that is gone
draining.py        what runs on while the server is told to stop, and for how long
recording.py       face: finished turns, handed to be recorded
guarded.py         face: decorated inference, the only way to a model and back
model_request.py   face: what a model is sent: prompt, cleared messages, passages that fit
upstream.py        face: a model's answer as it comes
read_ahead.py      a stream, read one chunk ahead while something else is waited for
to_model.py        face: what a model gets, as the shields cleared it
system_messages.py face: the one prompt that holds comes first
stored_prompts.py  face: prompts that a client has stored
inline_profiles.py face: lines of profiles in the run configuration
ownership.py       face: what a request names must be its user's
tool_selection.py  face: which of many tools the model is offered
titles.py          face: titles of new conversations
doors/             face: chat completions and completions, through the same shields
gate.py            face: what a model says, as the shields let it out
chunks.py          face: chunks of an answer's stream
client_texts.py    face: texts of a request that are no turn: instructions, functions
events.py          face: citations and sequence numbers on the way out
event_repair.py    face: the stock loop's events, made valid
item_events.py     face: events that the host has no class for
store.py           face: the stored response is the cited one
history.py         face: what was said before, with turns that can be taken out of it
copies.py          face: what the host keeps of a turn, deleted with it
host_rows.py       face: transactions on the host's tables
request_texts.py   face: the texts inside a request, and the request with other texts
faults.py          face: what went wrong upstream, in one line with a status
asked_once.py      face: a model that says no is not asked again
config.py          the provider's configuration
*_config.py        parts of a profile; deadlines.py too
prompts.py         which system prompt holds, and how passages reach the model
citations.py       documents behind passages
follow_ups.py      what is searched for a question that leans on the one before
grounding.py       passages of a turn: found, given, left out
budget.py          what a turn may still do, and which tools are offered
context_window.py  how much a model can read
markers.py         source markers of a model, left out of what it says
tool_ranking.py    which tools have to do with a question
title_texts.py     what a model is asked for a title
metrics.py         what operators can count about calls of the model
open_turn.py       a turn while it is going on
threads.py         which conversation a turn belongs to
tool_use.py        which tools the model called, and what it got
attachments.py     files and images as they are recorded
origins.py         which turn a stored message came with
"""

from typing import Any

from llama_stack_api import Api

from lightspeed_providers.responses.config import LightspeedResponsesConfig


async def get_provider_impl(
    config: LightspeedResponsesConfig, deps: dict[Api, Any], policy: list[Any]
) -> Any:  # Any: the host types neither deps nor implementations
    """Return the provider that Llama Stack serves as `/v1/responses`."""
    from lightspeed_providers.responses.responses import LightspeedResponsesImpl

    impl = LightspeedResponsesImpl(config, deps, policy)
    await impl.initialize()
    return impl
