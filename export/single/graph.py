"""Writes one ONNX graph with loops and branches, node after node.

A value is the name of a tensor. Constants are given where they are used, as NumPy arrays or plain
numbers (``float`` becomes float32, ``int`` int64). Equal constants are stored once, in the
outermost graph, whose values every loop and branch can read. Equal calls give equal bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

__all__ = ["OPSET", "Graph", "Operand"]

OPSET = 16
"""The first with GridSample; ONNX Runtime 1.11 and later read it."""
IR_VERSION = 8

Operand: TypeAlias = str | float | Sequence[int] | NDArray[Any] | np.generic


class Graph:
    """A graph that is being written; ``graph("Add", a, b)`` appends a node.

    Args:
        parent: the graph around the body of a loop or branch.
    """

    def __init__(self, parent: Graph | None = None) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._root: Graph = parent._root if parent else self
        self.constants: dict[str, NDArray[Any]] = {}
        self._names: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._count = 0

    def __call__(self, operator: str, *inputs: Operand, **attributes: Any) -> str:
        """Append a node with one output, and return its name."""
        return self.several(operator, 1, *inputs, **attributes)[0]

    def several(self, operator: str, count: int, *inputs: Operand, **attributes: Any) -> list[str]:
        """Append a node with several outputs, and return their names."""
        names = [self._name(operator.lower()) for _ in range(count)]
        given = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        self.nodes.append(helper.make_node(operator, given, names, name=names[0], **attributes))
        return names

    def constant(self, value: Operand) -> str:
        """Store a constant, once, and return its name."""
        array = np.asarray(value)
        if not isinstance(value, (np.ndarray, np.generic)):
            array = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        key = (str(array.dtype), array.shape, array.tobytes())
        root = self._root
        if key not in root._names:
            root._names[key] = name = f"constant_{len(root._names)}"
            root.constants[name] = np.ascontiguousarray(array).reshape(array.shape)
        return root._names[key]

    def cast(self, value: Operand, dtype: type[np.generic]) -> str:
        """Convert to another type; to whole numbers it rounds toward zero."""
        return self("Cast", value, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def rounded(self, value: str) -> str:
        """The nearest whole number; halves are rounded up, as OpenCV does."""
        return self("Floor", self("Add", value, 0.5))

    def part(self, value: str, start: Operand, stop: Operand, axis: int = 0) -> str:
        """``value[start:stop]`` along an axis."""
        first, last = ([v] if isinstance(v, int) else v for v in (start, stop))
        return self("Slice", value, first, last, [axis])

    def reversed(self, value: str) -> str:
        """Rows in the opposite order."""
        return self("Slice", value, [-1], [np.iinfo(np.int64).min + 1], [0], [-1])

    def columns(self, value: str, count: int) -> list[str]:
        """The columns of (n, count), (n, 1) each."""
        return self.several("Split", count, value, axis=1)

    def where(self, mask: str) -> str:
        """Indices of what is true in a mask (n,), ascending."""
        return self("Reshape", self("NonZero", mask), [-1])

    def length(self, value: str) -> str:
        """Number of rows, int64 (1,)."""
        return self("Shape", value, start=0, end=1)

    def loop(
        self,
        count: str | None,
        state: Sequence[tuple[str, type[np.generic]]],
        body: Callable[..., Sequence[str]],
        *,
        until_false: bool = False,
    ) -> list[str]:
        """Repeat ``body(graph, index, *state)``, which returns the next state.

        Args:
            count: how often, int64 (1,); ``None`` without a limit.
            state: values that pass from one round to the next, with their types.
            body: writes one round.
            until_false: the body returns, before the next state, whether to go on, bool scalar.
        """
        inner = Graph(self)
        names = [self._name("round"), self._name("go_on"), *(self._name("state") for _ in state)]
        results = list(body(inner, names[0], *names[2:]))
        go_on = results.pop(0) if until_false else inner("Identity", names[1])
        # An output must be computed inside, even where a round changes nothing.
        outputs = [go_on, *(inner("Identity", result) for result in results)]
        types: list[type[np.generic]] = [np.int64, np.bool_, *(dtype for _, dtype in state)]
        shapes: list[list[int] | None] = [[], [], *(None for _ in state)]
        graph = helper.make_graph(
            inner.nodes,
            f"{names[0]}_body",
            [_info(*one) for one in zip(names, types, shapes, strict=True)],
            [_info(*one) for one in zip(outputs, types[1:], shapes[1:], strict=True)],
        )
        limit = "" if count is None else self("Reshape", count, np.zeros(0, dtype=np.int64))
        first = [limit, self.constant(np.array(True)), *(value for value, _ in state)]
        return self.several("Loop", len(state), *first, body=graph)

    def branch(
        self,
        condition: str,
        then: Callable[[Graph], str],
        otherwise: Callable[[Graph], str],
        dtype: type[np.generic],
    ) -> str:
        """One of two values; only the chosen one is computed. The condition is a bool scalar."""
        graphs = []
        for write in (then, otherwise):
            inner = Graph(self)
            result = inner("Identity", write(inner))
            info = _info(result, dtype, None)
            graphs.append(helper.make_graph(inner.nodes, f"{result}_branch", [], [info]))
        return self("If", condition, then_branch=graphs[0], else_branch=graphs[1])

    def model(
        self,
        name: str,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
        metadata: dict[str, str],
    ) -> onnx.ModelProto:
        """The finished model; its metadata is written in sorted order."""
        initializers = [
            numpy_helper.from_array(value, constant) for constant, value in self.constants.items()
        ]
        graph = helper.make_graph(self.nodes, name, inputs, outputs, initializers)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="edge-mtcnn export",
        )
        helper.set_model_props(model, dict(sorted(metadata.items())))
        return model

    def _name(self, base: str) -> str:
        """A name that no other value has, in this or any other graph of the model."""
        self._root._count += 1
        return f"{base}_{self._root._count}"


def _info(name: str, dtype: type[np.generic], shape: Sequence[int] | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape
    )
