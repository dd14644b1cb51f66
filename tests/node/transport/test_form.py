"""What payloads look like, payloads made up from that, and samples on their way: both kinds."""

import pickle

import numpy as np
import pytest
import torch

from edgesplit.errors import WireError
from edgesplit.node.runtime.trial import dummy_payload
from edgesplit.node.transport import arrays, tensors, wire
from edgesplit.node.transport.packed_payload import pack_payload
from edgesplit.node.transport.tensor_form import TensorForm, payload_bytes

SHAPES = [
    torch.empty(2, 3, 4),
    torch.empty(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
    torch.empty(6, 4)[:, 1:3],
    torch.empty(3, 1).expand(3, 5),
    torch.empty(0, 4),
    torch.empty(()),
]


@pytest.mark.parametrize("tensor", SHAPES, ids=lambda tensor: f"{tuple(tensor.shape)}")
def test_zeros_of_a_form_have_it_as_tensor_and_as_array(tensor):
    (form,) = tensors.forms_of([tensor])
    made, array = tensors.zeros(form), arrays.zeros(form)
    assert tensors.forms_of([made]) == (form,)
    assert (array.shape, array.dtype) == (form.shape, np.float32)
    assert tuple(stride // array.itemsize for stride in array.strides) == form.strides
    assert not made.any()
    assert not array.any()


@pytest.mark.parametrize("name", wire.ITEM_BYTES)
def test_every_dtype_that_travels_has_its_bytes_by_name(name):
    dtype = tensors.dtype_of(name)
    assert tensors.name_of(dtype) == name
    form = TensorForm(name, (3, 5), (5, 1))
    assert form.n_bytes == 15 * dtype.itemsize == arrays.zeros(form).nbytes


def test_a_dtype_that_does_not_travel_has_a_form_and_no_array():
    (form,) = tensors.forms_of([torch.empty(3, dtype=torch.float8_e4m3fnuz)])
    assert form.n_bytes == 3
    with pytest.raises(WireError, match="no array has dtype 'float8_e4m3fnuz'"):
        arrays.zeros(form)


def test_a_made_up_payload_looks_like_the_forms():
    forms = tensors.forms_of([torch.ones(2, 3, dtype=torch.int64), 7, True])
    made = dummy_payload(forms)
    assert tensors.forms_of(made) == forms
    assert payload_bytes(forms) == 2 * 3 * 8 + 8 + 8


@pytest.mark.parametrize(
    "values",
    [
        [],
        [3, True, 0.5],
        [torch.arange(7, dtype=torch.uint8), 5, torch.randn(3, 4).to(torch.bfloat16)],
        [torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last), torch.empty(0, 2)],
    ],
)
def test_a_packed_payload_arrives_as_it_was(values):
    packed = pickle.loads(pickle.dumps(pack_payload(values), protocol=5))
    arrived = packed.values()
    assert tensors.forms_of(arrived) == tensors.forms_of(values)
    for there, here in zip(arrived, values, strict=True):
        if isinstance(here, torch.Tensor):
            assert torch.equal(there, here)
        else:
            assert type(there) is type(here)
            assert there == here


def test_what_arrives_lies_where_torch_would_put_it():
    (tensor,) = pack_payload([torch.randn(3)]).values()
    assert tensor.data_ptr() % wire.ALIGNMENT == 0
