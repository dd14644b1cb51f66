"""Structures as bytes: what goes in comes out, and nothing else is ever built or called."""

import msgspec
import pytest
import sample_models as samples
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgesplit.errors import ExportError, WireError
from edgesplit.node.program.export.model import export
from edgesplit.node.program.ops import find_op, is_listed
from edgesplit.node.program.structure import Layer, Op, Ref, Structure, Weight
from edgesplit.node.program.structure_codec import FORMAT, decode, encode
from edgesplit.node.program.switches import USUAL

EXPORTED = {
    samples.UNet: torch.randn(1, 3, 16, 16),
    samples.Control: torch.randn(2, 6),
    samples.Tied: torch.randint(0, 20, (1, 7)),
    samples.Several: torch.randn(3, 6),
}
TORCH_CONSTANTS = [torch.float32, torch.strided, torch.channels_last, torch.device("cpu")]
CONSTANTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"))
    | st.builds(complex, st.floats(allow_nan=False), st.floats(allow_nan=False))
    | st.builds(Ref, st.integers(0, 9))
    | st.builds(Weight, st.integers(0, 9))
    | st.builds(slice, st.none() | st.integers(0, 9), st.none() | st.integers(0, 9))
    | st.sampled_from(TORCH_CONSTANTS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


def holding(constant):
    return Structure(1, (Layer("a", (Op("aten.neg.default", (constant,), {}, 1),)),), (Ref(1),))


def with_part(change):
    """Bytes of a small program with one part of it exchanged."""
    made = msgspec.msgpack.decode(encode(holding(2), USUAL))
    change(made)
    return msgspec.msgpack.encode(made)


def op_of(made):
    return made["structure"]["structure"][1][0][1][0]


@pytest.mark.parametrize("model", EXPORTED, ids=lambda model: model.__name__)
def test_what_goes_in_comes_out(model):
    program = export(model().eval(), (EXPORTED[model],)).program
    data = encode(program.structure, program.switches)
    assert decode(data) == (program.structure, program.switches)
    assert repr(decode(data)) == repr((program.structure, program.switches))  # 1, 1.0 and True


@given(CONSTANTS)
def test_every_constant_comes_back_as_it_was(constant):
    assert repr(decode(encode(holding(constant), USUAL))[0]) == repr(holding(constant))


@pytest.mark.parametrize("constant", [object(), {1, 2}, b"bytes", 2**70, "\udcff", torch.zeros(1)])
def test_a_constant_that_cannot_travel_is_named(constant):
    with pytest.raises(ExportError, match="cannot travel"):
        encode(holding(constant), USUAL)


@pytest.mark.parametrize(
    "name",
    [
        "os:system", "builtins:eval", "builtins:exec", "builtins:open", "builtins:__import__",
        "_operator:attrgetter", "_operator:methodcaller", "_operator:call", "subprocess:run",
        "torch:load", "torch:hub.load", "torch:sym_int.__class__", "math:__loader__", "math:sin.x",
        "aten.from_file.default", "aten.save.default", "aten._print.default",
        "higher_order.triton_kernel_wrapper_mutation", "higher_order.run_const_graph",
        "_c10d_functional.all_reduce.default", "profiler._record_function_exit.default",
        "load_library", "aten.add", "", ":", "aten", "torch:", "library.custom_op.x",
    ],
)  # fmt: skip
def test_what_programs_do_not_call_is_not_found(name):
    with pytest.raises(ExportError, match="operator"):
        find_op(name)

    def change(made):
        op_of(made)[0] = name

    if not is_listed(name):
        with pytest.raises(WireError, match="no operator"):
            decode(with_part(change))


@pytest.mark.parametrize(
    "name",
    ["aten.add.Tensor", "aten.__and__.Tensor", "_operator:mul", "math:ceil", "torch:sym_max"],
)
def test_what_programs_call_is_found(name):
    assert callable(find_op(name))


def _exchanged(place, value):
    def change(made):
        op_of(made)[place] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda made: made.update(format=FORMAT + 1), "format"),
        (lambda made: made.update(more=1), "other parts"),
        (lambda made: made.pop("switches"), "other parts"),
        (lambda made: made.update(structure=3), "structure was expected"),
        (lambda made: made.update(switches={"tuple": [1, 2]}), "settings of torch"),
        (_exchanged(1, [{"ref": -1}]), "number from 0"),
        (_exchanged(1, [{"ref": True}]), "number from 0"),
        (_exchanged(1, [{"pickle": b"x"}]), "unknown kind"),
        (_exchanged(1, [{"reduce": []}]), "unknown kind"),
        (_exchanged(1, [{"ref": 1, "weight": 1}]), "no program"),
        (_exchanged(1, [{"dtype": "load"}]), "no dtype"),
        (_exchanged(1, [{"dtype": "nothing"}]), "no program"),
        (_exchanged(1, [{"device": "moon"}]), "no program"),
        (_exchanged(1, [b"bytes"]), "no program"),
        (_exchanged(2, [[1, 2]]), "a name"),
        (_exchanged(3, "x"), "number from 0"),
    ],
)
def test_anything_else_is_no_program(change, said):
    with pytest.raises(WireError, match=said):
        decode(with_part(change))


def test_values_in_values_without_end_are_no_program():
    deep = 1
    for _ in range(100):
        deep = {"list": [deep]}
    with pytest.raises(WireError, match="deeper"):
        decode(with_part(_exchanged(1, [deep])))
    with pytest.raises(WireError):
        decode(b"\x91" * 100_000)


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_no_program(data):
    with pytest.raises(WireError):
        decode(data)


@given(st.data())
def test_a_damaged_program_is_one_or_none(data):
    """Whatever byte is changed, only WireError comes of it, or another valid program."""
    good = bytearray(encode(holding((1, [Ref(0)], {"a": torch.float32})), USUAL))
    good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode(bytes(good))
    except WireError:
        return
