"""The general half of the outcome rule: what is proven by how far a request got, whatever the venue."""

from __future__ import annotations

from adapters.http.request import Answer, Outcome, Progress, Request, Sent, T, Verdict
from core.errors import VenueProtocolError


def failed(progress: Progress, error: str, *, sent_ns: int = 0) -> Sent[T]:
    """The outcome of a request without a whole answer.

    Before the first byte was handed to the network nothing can have happened. After it everything may have: half a request
    that a proxy completed, a whole one whose answer was lost. What part of it arrived is not known on this side.
    """
    outcome = Outcome.UNKNOWN if progress >= Progress.SENDING else Outcome.NOT_SENT_PROVEN
    return Sent(outcome=outcome, reason=error, progress=progress, sent_ns=sent_ns)


def answered(request: Request[T], answer: Answer, *, sent_ns: int, answered_ns: int) -> Sent[T]:
    """The outcome by the venue's own classifier; an answer that it cannot read proves nothing."""
    try:
        verdict = request.judge(answer)
    except VenueProtocolError as error:
        verdict = Verdict(Outcome.UNKNOWN, f"status {answer.status}: {error}")
    # That the request was not sent is for this side to say; and a value exists exactly where the venue did it.
    assert verdict.outcome is not Outcome.NOT_SENT_PROVEN
    assert (verdict.outcome is Outcome.ACCEPTED) == (verdict.value is not None)
    return Sent(
        outcome=verdict.outcome,
        reason=verdict.reason,
        progress=Progress.WHOLE,
        value=verdict.value,
        code=verdict.code,
        answer=answer,
        sent_ns=sent_ns,
        answered_ns=answered_ns,
    )
