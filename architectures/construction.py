"""Options from configurations, checked before a network is built, and limits on its size."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.overrides import TorchFunctionMode

from schemas.checks import is_number, shorten

T = TypeVar("T")

MAX_MODULES = 20_000
"""The most layers that an architecture may ask for; the largest of PaddleOCR has about 2,500."""
MAX_VALUES = 2**30
"""The most values of all tensors together; PaddleOCR's largest network has about 0.4 * 10**9."""

_SCALARS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    type(None): "null",
}


def wrong_options(
    network: Callable[..., nn.Module], options: Mapping[str, object]
) -> Iterator[tuple[str, str]]:
    """Yield each option whose value is of another type than the constructor's, and what it expects.

    Args:
        network: a class or function whose parameters have type annotations.
        options: values by parameter name, as read from YAML or JSON.
    """
    hints = get_type_hints(network.__init__ if inspect.isclass(network) else network)
    for name, value in options.items():
        if not _is_of(value, hints[name]):
            yield name, _in_words(hints[name])


def _is_of(value: object, annotation: Any) -> bool:
    """Return whether a value of YAML or JSON is of an annotated type."""
    if annotation is Any:
        return True
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return any(_is_of(value, each) for each in arguments)
    if origin is Sequence:
        return isinstance(value, (list, tuple)) and all(_is_of(v, arguments[0]) for v in value)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(_is_of(v, arguments[1]) for v in value.values())
    if annotation is float:
        return is_number(value)
    if annotation is int:
        return isinstance(value, int) and is_number(value)
    return isinstance(value, annotation)


def _in_words(annotation: Any) -> str:
    """Return an annotated type in the words of a message."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return " or ".join(_in_words(each) for each in arguments)
    if origin is Sequence:
        return f"a list, each entry {_in_words(arguments[0])}"
    if origin is Mapping:
        return "a mapping"
    return _SCALARS[annotation]


def build_abstractly(assemble: Callable[[], T]) -> T:
    """Build a network on the meta device, where no memory is asked for, within limits.

    Args:
        assemble: builds the network, or its parts, on the default device.

    Raises:
        ValueError: it has more than `MAX_MODULES` layers or `MAX_VALUES` values.
    """
    # One context of a device is enough: PyTorch would pass through both at every call.
    abstract = torch.empty(0).is_meta
    with nullcontext() if abstract else torch.device("meta"), _Uninitialised(), _limited():
        return assemble()


class _Uninitialised(TorchFunctionMode):
    """Leaves out the drawing of initial values, which tensors without values cannot hold.

    On the meta device PyTorch would import its compiler for some of it, which takes seconds.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if getattr(func, "__module__", "") == nn.init.__name__:
            return args[0] if args else given["tensor"]
        return func(*args, **given)


@contextmanager
def _limited() -> Iterator[None]:
    """Stop building a network that has too many layers or values."""
    modules = values = 0

    def count_module(_parent: nn.Module, _name: str, _module: nn.Module | None) -> None:
        nonlocal modules
        modules += 1
        if modules > MAX_MODULES:
            raise ValueError(f"the architecture has more than {MAX_MODULES} layers")

    def count_tensor(_parent: nn.Module, name: str, tensor: Tensor | None) -> None:
        nonlocal values
        values += 0 if tensor is None else tensor.numel()
        if values > MAX_VALUES:
            shape = "" if tensor is None else f"; {name} is {shorten(tuple(tensor.shape))}"
            raise ValueError(f"the architecture has more than {MAX_VALUES} values{shape}")

    handles = (
        register_module_module_registration_hook(count_module),
        register_module_parameter_registration_hook(count_tensor),
        register_module_buffer_registration_hook(count_tensor),
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
