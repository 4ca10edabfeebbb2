"""Where the time goes inside a model: per node of its file, per module and per operator.

Runtimes rename, fuse and insert nodes. What they run is traced back to the file's nodes by name;
a fused node counts for the node it grew from. What cannot be traced is listed under no module:
nothing is dropped, and the parts add up to the sum of the nodes.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from export.runtimes import Session
from export.runtimes.base import Array

TURNS = 5
RUNS = 6
ADDED = "added by the runtime"
# How names grow. ONNX Runtime: a counter, its blocked layout, casts around half precision, one
# fusion; its quantiser: the tensor that is rounded.
GROWTHS = (
    r"_token_\d+$",
    r"_nchwc$",
    r"^InsertedPrecisionFreeCast_",
    r"/GatherSliceToSplitFusion$",
    r"_quant$",
    r"_d?q$",
    r"_(Q|Deq)uantizeLinear(_\d+)?$",
)
ACTIVATIONS = ("Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid")
MODULE = re.compile(r"/?([\w./]+)/[^/]+")


@dataclass(frozen=True)
class NodeTime:
    """One node as the runtime runs it.

    Attributes:
        name: the runtime's name of it.
        ms: median of its time.
        module: the dotted module that it belongs to; "" when the name tells none.
        node: name of the file's node that it was traced to, which may be ""; None without one.
        operator: of that node, or None.
        output_shape: of that node, None for each free axis; None when unknown.
    """

    name: str
    ms: float
    module: str
    node: str | None
    operator: str | None
    output_shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class PartTime:
    """Nodes that belong together.

    Attributes:
        name: for people.
        ms: the sum of its nodes' times.
        share: of the sum of all nodes, 0 to 1.
        nodes: how many.
    """

    name: str
    ms: float
    share: float
    nodes: int


# Says what part a node counts for.
Label = Callable[[NodeTime], str]


def module_label(node: NodeTime) -> str:
    """Name a part after the first three names of the module, or else after the operator."""
    if node.module:
        return ".".join(node.module.split(".")[:3])
    return node.operator or ADDED


def group_label(node: NodeTime) -> str:
    """Name a part after the first name of the module: of ours encoder, decoder, tail, input."""
    return node.module.partition(".")[0] or node.operator or ADDED


def operator_label(node: NodeTime) -> str:
    """Name a part after the operator."""
    return node.operator or ADDED


@dataclass(frozen=True)
class NodeProfile:
    """The times of all nodes of one model.

    Attributes:
        nodes: in the order of execution.
        session_ms: median of whole runs without profiling, taken in turns with those that are
            profiled. What it has more than the sum of the nodes passes between them.
        label: what part a node counts for.
    """

    nodes: tuple[NodeTime, ...]
    session_ms: float
    label: Label = module_label

    @property
    def sum_ms(self) -> float:
        """The sum of the nodes' times."""
        return sum(node.ms for node in self.nodes)

    def parts(self, label: Label | None = None) -> list[PartTime]:
        """Sum the nodes up by a label, slowest part first."""
        grouped: dict[str, list[float]] = defaultdict(list)
        for node in self.nodes:
            grouped[(label or self.label)(node)].append(node.ms)
        parts = [
            PartTime(name, sum(ms), sum(ms) / self.sum_ms, len(ms)) for name, ms in grouped.items()
        ]
        return sorted(parts, key=lambda part: -part.ms)

    def document(self) -> dict[str, Any]:
        """Return the promised JSON form."""
        return {
            "sum_ms": round(self.sum_ms, 4),
            "session_ms": round(self.session_ms, 4),
            "groups": [_part_document(part) for part in self.parts(group_label)],
            "parts": [_part_document(part) for part in self.parts()],
            "operators": [_part_document(part) for part in self.parts(operator_label)],
            "nodes": [
                {
                    "name": node.name,
                    "ms": round(node.ms, 4),
                    "node": node.node,
                    "part": self.label(node),
                    "module": node.module or None,
                    "operator": node.operator,
                    "output_shape": node.output_shape,
                }
                for node in self.nodes
            ],
        }


def _part_document(part: PartTime) -> dict[str, Any]:
    return {
        "name": part.name,
        "ms": round(part.ms, 4),
        "share": round(part.share, 4),
        "nodes": part.nodes,
    }


def profile_nodes(
    session: Session,
    feeds: Mapping[str, Array],
    *,
    label: Label = module_label,
    turns: int = TURNS,
    runs: int = RUNS,
) -> NodeProfile:
    """Time every node of an opened model.

    Args:
        session: the model; where its source is an ONNX file, that file's nodes are looked up.
        feeds: an array for every input.
        label: what part a node counts for.
        turns: of whole runs, then profiled ones.
        runs: of each kind in a turn. Times are medians of the turns' medians.

    Raises:
        UnavailableError: the runtime does not time single nodes on this device.
    """
    whole: list[float] = []
    taken: dict[str, list[float]] = defaultdict(list)
    for _ in range(turns):
        whole.append(float(np.median(session.time(feeds, runs))))
        for name, ms in session.layer_times(feeds, runs).items():
            taken[name].append(ms)
    tracer = _Tracer(_read(session.source))
    return NodeProfile(
        tuple(tracer.node_time(name, float(np.median(ms))) for name, ms in taken.items()),
        float(np.median(whole)),
        label,
    )


def _read(source: str) -> onnx.GraphProto:
    if not Path(source).is_file():
        return onnx.GraphProto()
    try:
        model = onnx.load(source, load_external_data=False)
    except Exception:  # an engine, not an ONNX file; its layers have the names of nodes
        return onnx.GraphProto()
    try:
        return onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # shapes are a convenience
        return model.graph


class _Tracer:
    """Finds the file's node that a runtime's node grew from."""

    def __init__(self, graph: onnx.GraphProto):
        self.by_name = {node.name: node for node in graph.node if node.name}
        self.by_value = {name: node for node in graph.node for name in node.output}
        # ONNX Runtime turns constants into weights, and numbers the other nodes from 0.
        self.numbered = [node for node in graph.node if node.op_type != "Constant"]
        self.shapes = {
            value.name: tuple(
                axis.dim_value if axis.HasField("dim_value") else None
                for axis in value.type.tensor_type.shape.dim
            )
            for value in (*graph.value_info, *graph.output)
        }

    def node_time(self, name: str, ms: float) -> NodeTime:
        """Describe a runtime's node."""
        found = [
            node if text == name else self._before(node)
            for text in _grown_from(name)
            if (node := self._node(text))
        ]
        # A rounding has a name of its own, and belongs to the module whose result it rounds.
        texts = [*(node.name for node in found), *_grown_from(name)]
        module = next((module for text in texts if (module := _module(text))), "")
        if not found:
            return NodeTime(name, ms, module, None, None, None)
        node = found[0]
        return NodeTime(name, ms, module, node.name, node.op_type, self.shapes.get(node.output[0]))

    def _before(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """Return the convolution whose activation this is: fused, the two bear its name."""
        maker = self.by_value.get(node.input[0]) if node.op_type in ACTIVATIONS else None
        return maker if maker is not None and maker.op_type == "Conv" else node

    def _node(self, name: str) -> onnx.NodeProto | None:
        node = self.by_name.get(name) or self.by_value.get(name)
        operator, _, number = name.rpartition("_")
        if node is None and number.isdecimal() and int(number) < len(self.numbered):
            # A node without a name is called after its operator and number.
            numbered = self.numbered[int(number)]
            if not numbered.name and numbered.op_type == operator:
                return numbered
        return node


def _grown_from(name: str) -> Iterator[str]:
    """Yield the name, and what remains as each growth is taken off; of several fused, the first."""
    name = name.split(" + ")[0]
    yield name
    shrinking = True
    while shrinking:
        shrinking = False
        for growth in GROWTHS:
            shorter = re.sub(growth, "", name)
            if shorter not in ("", name):
                name, shrinking = shorter, True
                yield name


def _module(name: str) -> str:
    """Return the dotted module in a node's name: a.b/Conv_0, or /a/b/Conv as others write it."""
    match = MODULE.fullmatch(name)
    return match[1].replace("/", ".").removeprefix("network.") if match else ""
