"""What payloads of several requests look like side by side: found by comparing one with two.

A value whose size doubles along one dimension lies along that dimension. Whatever stays as it is
must be the same in all requests. Anything else is not clear, and then nothing is batched. No torch
is imported here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.transport.strides import MemoryOrder, memory_order_of
from edgesplit.node.transport.tensor_form import Form, Forms, TensorForm


@dataclass(frozen=True)
class BatchForm:
    """One value of a payload. one: in a single request, two: of two requests together.

    axis: the dimension along which requests lie; None where all have the same value.
    """

    one: Form
    two: Form
    axis: int | None = None

    def number(self, requests: int) -> Form:
        """A plain number as a run for so many requests needs it: a size that holds the batch."""
        assert not isinstance(self.one, TensorForm)
        return self.one if self.one == self.two else self.one * requests

    def strides(self, requests: int) -> tuple[int, ...]:
        """Of the tensor of so many requests, as eager torch would leave it."""
        assert isinstance(self.one, TensorForm)
        shape = list(self.one.shape)
        if self.axis is not None:
            shape[self.axis] *= requests
        return self._order.strides(shape)

    @cached_property
    def _order(self) -> MemoryOrder:
        assert isinstance(self.two, TensorForm)
        return memory_order_of(self.two.shape, self.two.strides)


def two_of(forms: Forms) -> tuple[BatchForm, ...]:
    """Of the payload at cut 0: every tensor has its requests in dimension 0, as at export.

    Raises RuntimeUnavailableError for a plain number: nothing says what it would be for two.
    """
    return tuple(map(_given, forms))


def _given(form: Form) -> BatchForm:
    if not isinstance(form, TensorForm):
        raise RuntimeUnavailableError(f"the model is given the plain number {form}")
    if not form.shape:
        return BatchForm(form, form)
    shape = (2 * form.shape[0], *form.shape[1:])
    strides = memory_order_of(form.shape, form.strides).strides(shape)
    return BatchForm(form, TensorForm(form.dtype, shape, strides), 0)


def compared(one: Forms, two: Forms) -> tuple[BatchForm, ...]:
    """Of the payload of a cut, from its forms for one and for two requests.

    Raises RuntimeUnavailableError where they do not say how the requests lie side by side.
    """
    if len(one) != len(two):
        raise RuntimeUnavailableError(f"a payload of {len(one)} values has {len(two)} for two")
    return tuple(map(_compared, one, two))


def axes(forms: Sequence[BatchForm]) -> tuple[int | None, ...]:
    """Per value, the dimension along which requests lie."""
    return tuple(form.axis for form in forms)


def _compared(one: Form, two: Form) -> BatchForm:
    if one == two and type(one) is type(two):
        return BatchForm(one, two)
    if isinstance(one, TensorForm) and isinstance(two, TensorForm):
        if len(one.shape) == len(two.shape) and one.dtype == two.dtype:
            return BatchForm(one, two, _doubled(one, two))
    elif type(one) is int and type(two) is int and two == 2 * one:
        return BatchForm(one, two)
    raise _unclear(one, two)


def _doubled(one: TensorForm, two: TensorForm) -> int | None:
    """None where only the strides differ."""
    pairs = enumerate(zip(one.shape, two.shape, strict=True))
    grown = [(dim, a, b) for dim, (a, b) in pairs if a != b]
    if not grown:
        return None
    (dim, a, b), *others = grown
    if others or b != 2 * a:
        raise _unclear(one, two)
    return dim


def _unclear(one: Form, two: Form) -> RuntimeUnavailableError:
    return RuntimeUnavailableError(
        f"a value like {one} becomes {two} for two requests, which says nothing of how they lie "
        "side by side"
    )
