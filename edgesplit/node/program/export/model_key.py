"""A key of all that an export of a model depends on, but for the values of its weights.

It covers the code that forward reaches, as the process has it, and the attributes of every module.
Code of installed packages is known by their version and the file's date. What cannot be read
leaves the model without a key, so that its export is not kept.
"""

import builtins
import dis
import enum
import functools
import hashlib
import sys
import sysconfig
import types
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as torch_module

# What forward could ask for something that is neither an argument nor a value seen here.
_OUTSIDE = frozenset(
    {"open", "input", "exec", "eval", "globals", "locals", "vars", "__import__"}
    | {"os", "random", "time", "datetime", "secrets", "uuid", "socket", "subprocess", "pathlib"}
)
_TEXT = (type(None), bool, int, float, complex, str, bytes, range, type(Ellipsis))
_TORCH_TEXT = (torch.dtype, torch.device, torch.Size, torch.layout, torch.memory_format)
_MOST_VALUES = 200_000
_MOST_TENSOR_BYTES = 16 << 20
_NO_CODE = frozenset(
    {"__module__", "__dict__", "__weakref__", "__doc__", "__annotations__", "__abstractmethods__"}
    | {"_abc_impl", "__firstlineno__", "__static_attributes__", "__slots__", "__match_args__"}
    | {"__dataclass_fields__", "__dataclass_params__", "__orig_bases__", "__parameters__"}
    | {"__annotate__", "__annotations_cache__", "__annotate_func__"}
)
_PARTS = (  # of methods, partials, properties and slices
    "__self__", "__func__", "func", "args", "keywords", "fget", "fset", "fdel", "start", "stop",
    "step",
)  # fmt: skip
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")


class _UnreadableError(Exception):
    """Something whose behaviour cannot be told from what is seen of it."""


def model_key(model: nn.Module) -> str | None:
    """Equal for two models of one class, code, attributes and forms of weights; None: unknown."""
    if torch_module._global_forward_hooks or torch_module._global_forward_pre_hooks:
        return None
    reader = _CodeReader(_named_tensors(model))
    try:
        reader.add(sys.version)
        reader.add(str(torch.__version__))
        for path in _own_files():
            reader.add(path.read_bytes())
        reader.add(model)
    except (_UnreadableError, OSError, RecursionError):
        return None
    return reader.digest.hexdigest()


def _named_tensors(model: nn.Module) -> dict[int, str]:
    """The first name of every parameter and buffer, by its id."""
    named = [*model.named_buffers(), *model.named_parameters()]
    return {id(tensor): name for name, tensor in reversed(named)}


@functools.cache
def _own_files() -> tuple[Path, ...]:
    """What exports: another version of it may make another program."""
    return tuple(sorted(Path(__file__).parents[1].rglob("*.py")))


class _CodeReader:
    """Goes through values and code in order, each once. named: parameters and buffers by id."""

    def __init__(self, named: Mapping[int, str]) -> None:
        self.digest = hashlib.sha256()
        self._named = named
        self._seen: dict[int, int] = {}
        self._kept: list[object] = []  # or an id could come again

    def add(self, value: Any) -> None:
        """Take in a value of any kind. Raises _UnreadableError."""
        if type(value) in _TEXT or isinstance(value, _TORCH_TEXT):
            return self._say(type(value).__name__, repr(value))
        if id(value) in self._seen:  # aliases and cycles are part of what a model is
            return self._say("seen", str(self._seen[id(value)]))
        if len(self._kept) >= _MOST_VALUES:
            raise _UnreadableError("too large")
        if not isinstance(value, tuple):  # Python may make one of two equal ones
            self._seen[id(value)] = len(self._kept)
        self._kept.append(value)
        return self._add_kind(value)

    def _say(self, *texts: str) -> None:
        for text in texts:
            self.digest.update(text.encode(errors="surrogatepass") + b"\0")

    def _add_kind(self, value: Any) -> None:
        match value:
            case torch.Tensor():
                self._add_tensor(value)
            case nn.Module():
                self._add_module(value)
            case enum.Enum():
                self._say("enum", type(value).__qualname__, value.name)
            case type():
                self._add_class(value)
            case types.FunctionType():
                self._add_function(value)
            case types.MethodType() | functools.partial() | property() | slice():
                self._add_parts(value)
            case staticmethod() | classmethod() | functools.cached_property():
                self._add_parts(value)
            case weakref.ref():  # nn.LSTM has such of its weights
                self._say("weakref")
                self.add(value())
            case list() | tuple() | set() | frozenset() | dict():
                self._add_collection(value)
            case types.ModuleType():
                self._say("module", value.__name__, _installed(value.__name__))
            case _:
                self._add_object(value)

    def _add_tensor(self, tensor: torch.Tensor) -> None:
        form = (tensor.dtype, tuple(tensor.shape), tensor.layout, tensor.requires_grad)
        self._say("tensor", type(tensor).__name__, repr(form))
        if tensor.layout is not torch.strided or tensor.device.type != "cpu":
            raise _UnreadableError("a tensor of another kind")
        self._say(repr(tensor.stride()), self._named.get(id(tensor), ""))
        if id(tensor) not in self._named:  # forward may have its values in the graph
            if tensor.nbytes > _MOST_TENSOR_BYTES or type(tensor) is not torch.Tensor:
                raise _UnreadableError("a large tensor that is no parameter")
            data = tensor.detach().resolve_conj().resolve_neg().contiguous()
            self._say(hashlib.sha256(data.view(-1).view(torch.uint8).numpy().data).hexdigest())

    def _add_module(self, module: nn.Module) -> None:
        held = vars(module)
        if any(held.get(name) for name in _HOOKS):
            raise _UnreadableError("hooks")
        self._say("nn.Module")
        self.add(type(module))
        for name in sorted(held):
            if "_hooks" not in name:
                self._say(name)
                self.add(held[name])

    def _add_class(self, kind: type) -> None:
        self._say("class", kind.__module__, kind.__qualname__)
        if stamp := _installed(kind.__module__):
            return self._say(stamp)
        for base in kind.__mro__[1:]:
            self.add(base)
        for name, member in vars(kind).items():
            if name not in _NO_CODE:
                self._say(name)
                self.add(member)

    def _add_function(self, function: types.FunctionType) -> None:
        code = function.__code__
        self._say("function", function.__module__ or "", function.__qualname__)
        if stamp := _installed(function.__module__, code.co_filename):
            return self._say(stamp)
        self.add(function.__defaults__)
        self.add(function.__kwdefaults__)
        for cell in function.__closure__ or ():
            self.add(_content(cell))
        for part in _codes(code):
            self._say(part.co_code.hex(), repr(part.co_names), repr(part.co_varnames))
            self._add_constants(part)
        self._add_globals(function.__globals__, code)

    def _add_constants(self, code: types.CodeType) -> None:
        for constant in code.co_consts:
            if not isinstance(constant, types.CodeType):
                self.add(constant)

    def _add_globals(self, known: Mapping[str, Any], code: types.CodeType) -> None:
        parts = list(_codes(code))
        attributes = {name for part in parts for name in part.co_names}
        for name in sorted({name for part in parts for name in _named_by(part, "LOAD_GLOBAL")}):
            if name in known or hasattr(builtins, name):
                self._add_global(name, known.get(name, getattr(builtins, name, None)), attributes)
        for name in sorted({name for part in parts for name in _named_by(part, "IMPORT_NAME")}):
            self._add_global(name, sys.modules.get(name), attributes)

    def _add_global(self, name: str, value: Any, attributes: set[str]) -> None:
        is_module = isinstance(value, types.ModuleType)
        if name in _OUTSIDE or (is_module and value.__name__.partition(".")[0] in _OUTSIDE):
            raise _UnreadableError(f"{name}, which may say something else each time")
        self._say("global", name)
        if not is_module or _installed(value.__name__):
            return self.add(value)
        self._say("module", value.__name__)
        for attribute in sorted(attributes & vars(value).keys()):
            self._add_global(attribute, vars(value)[attribute], attributes)
        return None

    def _add_parts(self, value: Any) -> None:
        self._say(type(value).__name__)
        for name in _PARTS:
            if hasattr(value, name):
                self.add(getattr(value, name))

    def _add_collection(self, value: Any) -> None:
        self._say("collection")
        self.add(type(value))
        if isinstance(value, (set, frozenset)):
            if not all(type(item) in _TEXT for item in value):
                raise _UnreadableError("a set of things that have no order")
            return self._say(*sorted(map(repr, value)))
        for item in value.items() if isinstance(value, dict) else value:
            if isinstance(value, dict):
                self.add(item[0])
                self.add(item[1])
            else:
                self.add(item)

    def _add_object(self, value: Any) -> None:
        """An operator or builtin by its name, an object of the user's by class and attributes."""
        name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
        home = getattr(value, "__module__", None)
        is_named = callable(value) and isinstance(name, str) and isinstance(home, str | None)
        if is_named and (not hasattr(value, "__dict__") or isinstance(value, _OPERATORS)):
            return self._say("builtin", home or "", str(name), str(value.__class__))
        if not hasattr(value, "__dict__") or _is_of_c(type(value)):
            raise _UnreadableError(f"a {type(value).__name__}")
        self._say("object")
        self.add(type(value))
        self.add(dict(vars(value)))


_OPERATORS: tuple[type, ...] = (torch._ops.OpOverload, torch._ops.OpOverloadPacket)


def _is_of_c(kind: type) -> bool:
    """Whether objects of this class hold more than their attributes."""
    return any(
        base not in (object, OrderedDict) and not base.__flags__ & _HEAP_TYPE
        for base in kind.__mro__
    )


_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made by a class statement


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError as error:
        raise _UnreadableError("an empty cell") from error


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """It and all functions, lambdas and comprehensions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _named_by(code: types.CodeType, operation: str) -> Iterator[str]:
    """What such instructions name."""
    return (i.argval for i in dis.get_instructions(code) if i.opname == operation)


def _installed(module: str | None, file: str | None = None) -> str:
    """What tells one version of an installed module from another; empty for the user's own.

    file: where the code in question comes from, the module's own file if it was not patched.
    """
    found = sys.modules.get(module or "")
    if found is None or module is None:
        return ""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names and file is None:
        return f"stdlib {sys.version}"
    source = file or getattr(found, "__file__", None) or ""
    return _stamp(top, source) if source.startswith(_PACKAGES) else ""


@functools.cache
def _stamp(top: str, source: str) -> str:
    version = getattr(sys.modules.get(top), "__version__", "")
    try:
        found = Path(source).stat()
    except OSError:
        return ""
    return f"{top} {version} {source} {found.st_mtime_ns} {found.st_size}"


_PACKAGES = tuple({sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")})
