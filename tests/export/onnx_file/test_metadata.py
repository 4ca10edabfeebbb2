import json

import onnx
import pytest
from small_network import make_metadata

from export.onnx_file.metadata import FORMAT_VERSION, ModelMetadata
from export.system.errors import DataError


def properties(**changes: str | None) -> dict[str, str]:
    model = onnx.ModelProto()
    make_metadata().write(model)
    written = {entry.key: entry.value for entry in model.metadata_props}
    return {key: value for key, value in {**written, **changes}.items() if value is not None}


def test_round_trip() -> None:
    assert ModelMetadata.read(properties()) == make_metadata()


def test_promised_keys_and_forms() -> None:
    written = properties()
    assert set(written) == {
        "classes",
        "palette",
        "genotype",
        "encoder",
        "input_size",
        "training",
        "licence",
        "format_version",
    }
    assert json.loads(written["classes"])[0] == "class 0"
    assert json.loads(written["palette"])[1] == [1, 2, 254]
    assert written["genotype"].startswith("[[0,")
    assert written["licence"] == "research only"


def test_what_was_seen_is_a_text_as_it_is() -> None:
    for seen in ("", "AAECAw=="):
        model = onnx.ModelProto()
        make_metadata(seen=seen).write(model)
        written = {entry.key: entry.value for entry in model.metadata_props}
        assert written["seen"] == seen
        assert ModelMetadata.read(written).seen == seen
    assert ModelMetadata.read(properties()).seen is None


def test_working_size_is_a_number_or_not_there() -> None:
    model = onnx.ModelProto()
    make_metadata(working_size=32).write(model)
    written = {entry.key: entry.value for entry in model.metadata_props}
    assert written["working_size"] == "32"
    assert ModelMetadata.read(written).working_size == 32
    assert ModelMetadata.read(properties()).working_size is None


def test_writing_replaces_what_was_there() -> None:
    model = onnx.ModelProto()
    make_metadata().write(model)
    make_metadata(licence="other", genotype=None).write(model)
    written = {entry.key: entry.value for entry in model.metadata_props}
    assert written["licence"] == "other"
    assert "genotype" not in written


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classes": None}, "has no metadata 'classes'"),
        ({"licence": None}, "metadata 'licence': Field required"),
        ({"classes": "face, hair"}, "metadata is not JSON"),
        ({"palette": "[[0, 0, 0]]"}, "1 colours for 5 classes"),
        ({"palette": "[[0, 0, 300]]"}, "metadata 'palette.0.2'"),
        ({"input_size": "0"}, "metadata 'input_size'"),
        ({"working_size": "0"}, "metadata 'working_size'"),
        ({"format_version": str(FORMAT_VERSION + 1)}, "update nastool"),
    ],
)
def test_bad_metadata_is_one_line(changes: dict[str, str | None], words: str) -> None:
    with pytest.raises(DataError) as caught:
        ModelMetadata.read(properties(**changes), "some/model.onnx")
    message = str(caught.value)
    assert message.startswith("some/model.onnx: ")
    assert words in message
    assert "\n" not in message
