"""Layer normalisations that a program writes out, put together again.

PaddleOCR's `Vary_VIT_B` normalises maps by the mean and the variance of their channels in
operations of its own (https://arxiv.org/abs/1607.06450); our network has a layer normalisation.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from converter.sources.ir import Operation

_VIEWS = {"reshape", "slice", "unsqueeze", "cast", "assign"}


def put_norms_together(
    operations: Sequence[Operation], parameters: Collection[str]
) -> tuple[Operation, ...]:
    """Return the operations; the last one of each such group is the whole normalisation.

    The others stay, as they own no tensors, but for the product with the scale.

    Args:
        operations: of a program, without those inside its loops.
        parameters: the names of its tensors.
    """
    search = _Search(operations, parameters)
    replaced: dict[int, Operation | None] = {}
    for place, operation in enumerate(operations):
        if operation.kind == "add":
            replaced |= search.norm(place)
    found = (replaced.get(place, operation) for place, operation in enumerate(operations))
    return tuple(operation for operation in found if operation is not None)


class _Search:
    def __init__(self, operations: Sequence[Operation], parameters: Collection[str]) -> None:
        self.operations, self.parameters = operations, parameters
        self.makers = {v: place for place, o in enumerate(operations) for v in o.outputs}

    def norm(self, place: int) -> dict[int, Operation | None]:
        """Return the normalisation that ends in the addition at `place`; else nothing."""
        shift, scaled = self.with_tensor("add", self.operations[place].outputs[0])
        scale, normal = self.with_tensor("multiply", scaled)
        centered, deviation = self.operands("divide", normal)
        x, mean = self.operands("subtract", centered)
        (spread,) = self.operands("sqrt", deviation, 1)
        variance, epsilon = self.with_epsilon(spread)
        (squares,) = self.operands("mean", variance, 1)
        (again,) = self.operands("pow", squares, 1)
        same = self.operands("subtract", again) == (x, mean) and self.operands("mean", mean, 1)
        if not (shift and scale and x and same == (x,)):
            return {}
        operands = {"x": (x,), "scale": (scale,), "bias": (shift,)}
        outputs = self.operations[place].outputs
        whole = Operation("layer_norm", operands, outputs, {"epsilon": epsilon})
        return {self.makers[scaled]: None, place: whole}

    def operands(self, kind: str, value: str, count: int = 2) -> tuple[str, ...]:
        """Return the operands of the operation that gives a value, if it is of this kind."""
        maker = self.makers.get(value)
        if maker is None or self.operations[maker].kind != kind:
            return ("",) * count
        values = tuple(v for vs in self.operations[maker].inputs.values() for v in vs)
        return values if len(values) == count else ("",) * count

    def with_tensor(self, kind: str, value: str) -> tuple[str, str]:
        """Return the operand of such an operation that is a program's tensor, and the other."""
        first, second = self.operands(kind, value)
        for tensor, other in ((first, second), (second, first)):
            if self.is_tensor(tensor):
                return tensor, other
        return "", ""

    def with_epsilon(self, value: str) -> tuple[str, float]:
        """Return what a small number was added to, and the number."""
        maker = self.makers.get(value)
        if maker is None or self.operations[maker].kind != "scale":
            return "", 0.0
        operation = self.operations[maker]
        return operation.inputs["x"][0], float(operation.attributes.get("bias", 0.0))

    def is_tensor(self, value: str) -> bool:
        """Return whether a value is a tensor of the program, or one laid out anew."""
        while value not in self.parameters:
            maker = self.makers.get(value)
            if maker is None or self.operations[maker].kind not in _VIEWS:
                return False
            value = self.operations[maker].inputs[next(iter(self.operations[maker].inputs))][0]
        return True
