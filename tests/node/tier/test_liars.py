"""Tiers that lie: what cannot be an answer is malformed, and whoever asked does without them."""

import pytest
import torch
from caller import X, calling
from liar import FRAME_LIES, SAMPLE_LIES, TIB, VALUE_LIES, Liar, declaring, frame, truth
from tiers import tiers

from edgesplit.errors import RequestError
from edgesplit.node.transport import tensors, wire
from edgesplit.node.transport.judge import AnswerForm

FORM = AnswerForm(tensors.forms_of([X]), are_sizes_fixed=True)
VARIES = AnswerForm(tensors.forms_of([X]), are_sizes_fixed=False)
LIES = {**VALUE_LIES, **SAMPLE_LIES, **FRAME_LIES}


def test_the_truth_is_believed():
    for form in (FORM, VARIES, None):
        with Liar(truth) as end, calling(end.address, answer=form) as caller:
            assert [caller.infer(n) for n in range(3)] == [""] * 3


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_caller_finishes_what_a_tier_has_lied_about(lie):
    with Liar(lie) as end, calling(end.address, answer=FORM) as caller:
        assert caller.infer(failover_after_s=5.0) == "end malformed"
        with pytest.raises(RequestError, match="what cannot be an answer") as told:
            caller.infer(failover_after_s=0.0)
    assert told.value.reason == "malformed"
    assert str(told.value).isprintable()


def test_every_request_of_a_stream_to_a_liar_ends_right():
    with (
        Liar(VALUE_LIES["another shape"]) as end,
        calling(end.address, answer=FORM) as caller,
        caller.sender() as sender,
    ):
        waiting = [caller.pending(n, failover_after_s=5.0) for n in range(6)]
        for pending in waiting:
            sender.send(pending)
        for n, pending in enumerate(waiting):
            outcome = sender.receive(pending)
            assert torch.equal(outcome.values[0], X + n + 36)
            assert outcome.why == "end malformed"


@pytest.mark.parametrize("shape", [[TIB, 1], [3, TIB]])
def test_where_sizes_depend_on_values_a_frame_has_a_limit(shape):
    lie = declaring([wire.TensorSpec("float32", shape, [shape[1], 1])], 4 * shape[0] * shape[1])
    with Liar(lie) as end, calling(end.address, answer=VARIES) as caller:
        assert caller.infer(failover_after_s=5.0) == "end malformed"


BETWEEN_TIERS = {**SAMPLE_LIES, **FRAME_LIES}
# A tier skips these, and waits on: whoever asked it is not concerned.
del BETWEEN_TIERS["a reply to another"], BETWEEN_TIERS["a request"]


@pytest.mark.parametrize("lie", BETWEEN_TIERS.values(), ids=BETWEEN_TIERS)
def test_a_tier_finishes_what_the_next_one_has_lied_about(lie):
    with Liar(lie) as edge, tiers() as running:
        running.addresses["edge"] = edge.address
        stages = [("end", 0, 3), ("edge", 3, 9)]
        answer = running.infer([X], stages, 20.0, failover_after_s=5.0)
        assert torch.equal(answer.values[0], X + 36)
        assert answer.timings[-1].failed_over in ("edge malformed", "edge unreachable")


def refusal(request, values):
    said = "\x1b[31mno\x07\nERROR: \u202eevil\x00"
    return frame(wire.Refusal(id=request.id, tier="en\x1bd", reason="failed", message=said))


def test_a_peers_text_steers_no_screen():
    with (
        Liar(refusal) as end,
        calling(end.address, answer=FORM) as caller,
        pytest.raises(RequestError, match=r"\\x1b\[31mno\\x07 ERROR: \\u202eevil\\x00") as told,
    ):
        caller.infer()
    assert str(told.value).isprintable()


def test_a_reason_that_does_not_exist_is_malformed():
    def odd(request, values):
        return frame(wire.Refusal(id=request.id, tier="end", reason="\x1b]0;x", message=""))

    with Liar(odd) as end, calling(end.address, answer=FORM) as caller:
        assert caller.infer() == "end malformed"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\r\n\tb", "a b"), ("\x1b[0m", "\\x1b[0m"), ("é漢", "é漢"), ("x" * 9000, "x" * 2000)],
    ids=["lines", "escape", "letters", "long"],
)
def test_what_is_shown_of_a_text(text, shown):
    refusal = wire.Refusal(id="", tier="end", reason="failed", message=text)
    assert wire.decode(wire.encode(refusal)[wire.PREFIX_BYTES :]).message == shown
