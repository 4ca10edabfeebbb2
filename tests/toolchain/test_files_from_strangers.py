"""Whatever the bytes: a reader gives what it reads, or a line; no other error comes out."""

import contextlib
import copy
import io
import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import create_trial
from PIL import Image

from export.kit.journal import Journal, JournalError
from export.onnx_file.metadata import ModelMetadata
from export.system.errors import DataError, NastoolError, UsageError
from export.system.files import read_json
from toolchain.cli import run
from toolchain.datasets.image_files import read_grey, read_image, read_mask
from toolchain.datasets.labels import read_label_set
from toolchain.deploy.deployment import load_network
from toolchain.genotype import Genotype
from toolchain.profiling.costing import read_genotypes
from toolchain.profiling.reading import read_table
from toolchain.profiling.table import LatencyTable
from toolchain.reporting.logs import read_log
from toolchain.search.run import Run, read_ranking
from toolchain.search.space_benchmark import SpaceBenchmark
from toolchain.search.stored_trials import CANDIDATE, read_trial
from toolchain.training.checkpoints import load_segmenter, read_checkpoint, save_checkpoint

FEW = settings(max_examples=settings().max_examples // 5)
"""For what takes long."""
GENOTYPE = "[[8, [1, 1, 1, 10], [4, 3, 1, 3]], [[0, 1], [2, 0]]]"
LINE = (
    "o_reward: 0.5, reward: 0.5, Epoch: 1, params: 0.3, delay: 0.01, flops: 0.3, "
    "mo_params_coe: 1.0, mo_delay_coe: 1.0, mo_flops_coe: 1.0, epoch_time: 10.0, "
    f"genotype: {GENOTYPE}"
)
LABELS = {
    "name": "own", "classes": ["background", "left", "right"], "swaps": [[1, 2]], "ignored": 9,
    "palette": [[0, 0, 0], [1, 2, 3], [4, 5, 6]], "groups": {"both": [1, 2]},
}  # fmt: skip
NUMBERS = st.sampled_from([0, -1, 1, 33, 255, 2**31, 2**63, 10**30, -0.5, 1e308, 0.1])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=9) | st.sampled_from(["../../x", "/x"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(document, path=()):
    """List the ways to all values in a document."""
    if not isinstance(document, dict | list):
        return
    for key, value in document.items() if isinstance(document, dict) else enumerate(document):
        yield (*path, key)
        yield from places(value, (*path, key))


@st.composite
def changed(draw, document):
    """Draw a document with one to three values that are others, or gone."""
    result = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        if not (known := list(places(result))):
            break
        *way, last = draw(st.sampled_from(known))
        inside = result
        for key in way:
            inside = inside[key]
        if draw(st.integers(0, 5)):
            inside[last] = draw(VALUES)
        elif isinstance(inside, dict | list) and len(inside) > 1:
            del inside[last]
    return result


@st.composite
def damaged(draw, content):
    """Draw bytes like others: some changed, some gone, some twice."""
    result = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, max(0, len(result) - 1)))
        end = start + draw(st.integers(0, 8))
        result[start:end] = draw(
            st.sampled_from([b"", bytes(result[start:end] * 2)]) | st.binary(max_size=6)
        )
    return bytes(result)


def texts(example):
    return st.binary(max_size=60) | damaged(example.encode()) | st.text(max_size=60).map(str.encode)


def documents(example):
    """Draw the contents of a JSON file, more often than not such a one."""
    return changed(example).map(lambda d: json.dumps(d).encode()) | texts(json.dumps(example))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("from strangers") / "file"


def read(reader, path, content):
    path.write_bytes(content)
    with contextlib.suppress(NastoolError):
        return reader(path)
    return None


@given(st.text() | damaged(GENOTYPE.encode()).map(lambda b: b.decode("latin-1")))
def test_a_genotype(text):
    if text.strip().endswith(".json"):
        return
    with contextlib.suppress(NastoolError):
        assert Genotype.parse(str(Genotype.parse(text)))


@given(content=texts(f"{GENOTYPE}\n{GENOTYPE}"))
def test_genotypes(path, content):
    read(read_genotypes, path, content)


@given(content=texts(f"{LINE}\n{LINE}\n"))
def test_a_log(path, content):
    if found := read(read_log, path, content):
        assert all(np.isfinite(trial.score) for trial in found.trials)


@given(content=documents(LABELS))
def test_labels(path, content):
    read(read_label_set, path, content)


@given(content=documents(LABELS))
def test_json(path, content):
    read(read_json, path, content)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    (example, *_) = sorted(Path("latency_tables").glob("*.json"))
    document = json.loads(example.read_text())
    some = dict(list(document["entries"].items())[:3])
    document["certificate"]["worst"] = document["certificate"]["worst"][:1]
    document["certificate"]["cases"] = document["certificate"]["cases"][:1]
    return document | {"entries": some}


@FEW
@given(data=st.data())
def test_a_table(path, table, data):
    def whole(path):
        found = LatencyTable.model_validate(read_json(path))
        found.save(path)  # with the sum that fits
        read_table(path)
        LatencyTable.load(path).check_matches()

    with contextlib.suppress(ValueError):  # pydantic's own
        read(whole, path, data.draw(documents(table)))
    read(LatencyTable.load, path, path.read_bytes())


@given(content=texts('{"classes": 19}\n["a", [[1.0, 2.0]], 2.0]\n'))
def test_a_journal(path, content):
    path.write_bytes(content)
    with contextlib.suppress(JournalError):
        Journal(path, {"classes": 19}, resume=True)


RECORD = {
    "format_version": 2, "command": "search", "contents": {}, "data": "/x", "storage": None,
    "trials": 9, "rescore": 3, "objectives": ["params:1M:-0.1"], "working_sizes": [64],
}  # fmt: skip
RANKING = {
    "settings": {"epochs": 1},
    "trials": [{"id": 1, "chosen": "best", "search_score": 0.1, "result": 0.2, "seconds": 3.0}],
}


@given(content=documents(RECORD).filter(lambda content: b"sql" not in content))
def test_a_run(path, content):
    read(lambda path: Run.load(path.parent), path.with_name("config.json"), content)


@given(content=documents(RANKING))
def test_a_ranking(path, content):
    read(lambda path: read_ranking(path.parent), path.with_name("rank.json"), content)


TRIAL = {
    "id": 1, "genotype": GENOTYPE, "canonical": GENOTYPE, "encoder": "x", "state": "complete",
    "score": 0.5, "reward": 0.5, "parameters": 1, "flops": 1, "latency_ms": {"a": 1.0},
}  # fmt: skip


@given(changed(TRIAL))
def test_a_trial(trial):
    with contextlib.suppress(NastoolError):
        found = read_trial(create_trial(value=0.5, user_attrs={CANDIDATE: trial}))
        assert isinstance(found.id, int)


@pytest.mark.parametrize("number", ["../../x", "/x", None, 1.5])
def test_a_folder_is_not_named_by_what_a_database_says(number):
    """A trial's id names the folder in which ``train --pick pareto`` trains it."""
    stored = create_trial(value=0.5, user_attrs={CANDIDATE: TRIAL | {"id": number}})
    with pytest.raises(UsageError, match=r"is none of nastool search \(id: "):
        read_trial(stored)


ROW = {"genotype": "[[1, [0, 1, 2, 9]], [[0, 1]]]", "encoder": "ghostnet-0.1", "scores": [0.5]}
SPACE = {
    "schema_version": 1, "provenance": {}, "branches": 2, "cells": 1, "encoders": ["ghostnet-0.1"],
    "working_sizes": [None], "classes": 19, "input_size": 64, "fidelities": ["a"], "target": "a",
    "rows": [ROW | {"scores": [number / 40]} for number in range(30)],
}  # fmt: skip


@FEW
@given(content=documents(SPACE))
def test_a_benchmark_of_a_space(path, content):
    read(SpaceBenchmark.load, path, content)


METADATA = {
    "classes": '["a", "b"]', "palette": "[[0, 0, 0], [1, 2, 3]]", "input_size": "64",
    "licence": "none", "training": "{}", "seen": "", "format_version": "1", "tail": "resize",
}  # fmt: skip


@given(changed(METADATA), st.sampled_from(list(METADATA)), damaged(b"[[0, 0, 0], [1, 2, 3]]"))
def test_metadata(properties, key, content):
    texts = {name: str(value) for name, value in properties.items()}
    texts[key] = content.decode("latin-1")
    with contextlib.suppress(NastoolError):
        ModelMetadata.read(texts, "a.onnx")


def encoded(suffix):
    picture = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    return cv2.imencode(suffix, picture)[1].tobytes()


def with_exif():
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 6, 72.0
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "JPEG", exif=exif)
    return file.getvalue()


PICTURES = [encoded(suffix) for suffix in (".png", ".jpg", ".bmp", ".webp")] + [with_exif()]


@given(content=st.sampled_from(PICTURES).flatmap(damaged))
def test_a_picture(path, content):
    for reader in (read_image, read_mask, read_grey):
        read(reader, path.with_suffix(".png"), content)


KEYS = ("epochs", "weights", "augment", "no-augment", "device", "input-size", "learning-rate", "x")
TOML = st.one_of(
    st.sampled_from(["nan", "-inf", "1e999", "true", "{a = 1}", "[1, [2]]", "1979-05-27", "''"]),
    st.text(max_size=9).map(json.dumps),
    NUMBERS.map(str),
    st.text(max_size=9),
)


@given(st.lists(st.tuples(st.sampled_from(KEYS), TOML), max_size=3), texts("epochs = 3"))
def test_a_configuration(path, pairs, rest):
    lines = "".join(f"{key} = {value}\n" for key, value in pairs)
    path.write_bytes(lines.encode() + rest)
    errors = io.StringIO()
    given = ["--data", "nowhere", "--genotype", "1 [0,1]", "--output", str(path.with_name("out"))]
    with contextlib.redirect_stderr(errors):
        assert run(["train", "--config", str(path), *given]) == 2
    assert len(errors.getvalue().splitlines()) == 1


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "a.pt"
    network, info = load_network(None, "1 [0,1]", "ghostnet-0.1")
    save_checkpoint(path, info, network.state_dict())
    return path


@pytest.fixture(scope="module")
def said(checkpoint):
    document = torch.load(checkpoint, weights_only=True) | {"model": {}}
    return document | {"label_set": json.loads(json.dumps(document["label_set"]))}


@FEW
@given(data=st.data())
def test_bytes_of_a_checkpoint(path, checkpoint, data):
    read(load_segmenter, path, data.draw(damaged(checkpoint.read_bytes())))


@FEW
@given(data=st.data())
def test_what_a_checkpoint_says(path, said, data):
    torch.save(data.draw(changed(said)), path)
    read(read_checkpoint, path, path.read_bytes())


WEIGHTS = {
    "none": lambda state: None,
    "a list": lambda state: [1],
    "numbers": lambda state: dict.fromkeys(state, 0),
    "other kinds": lambda state: {name: value.to(torch.complex64) for name, value in state.items()},
    "sparse": lambda state: {
        name: value.to_sparse() if value.ndim else value for name, value in state.items()
    },
    "nan": lambda state: {name: value * math.nan for name, value in state.items()},
    "of a trillion": lambda state: dict.fromkeys(state, torch.zeros(1).expand(10**12)),
}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_of_a_checkpoint(path, checkpoint, kind):
    document = torch.load(checkpoint, weights_only=True)
    changed = document | {"model": WEIGHTS[kind](document["model"])}
    for checksum, words in ("", "does not hold its network's weights"), ("x", "checksum"):
        torch.save(changed | {"checksum": checksum}, path)
        with pytest.raises(DataError, match=words):
            load_segmenter(path)


def test_a_file_of_a_hundred_levels_is_read(path):
    """Depth alone is no fault."""
    path.write_text("[" * 100 + "]" * 100)
    assert read_json(path)
    path.write_text("[" * 100_000)
    with pytest.raises(DataError, match="nested too deeply"):
        read_json(path)
