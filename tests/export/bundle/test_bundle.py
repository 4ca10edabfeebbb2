"""The bundle: complete, true to the model, and running where this project is not installed."""

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image
from small_network import CLASSES, SIZE, make_metadata

from export.bundle.writing import TEMPLATES, write_bundle
from export.precision.half import to_fp16
from export.precision.quantisation import Quantiser
from export.runtimes import open_session
from export.runtimes.base import Array
from export.system.errors import DataError, GateError, NastoolError, UsageError
from toolchain.deploy.deployment import face_photo

SHIPPED = Path(__file__).parents[3] / "demo" / "models" / "balanced.onnx"
CONTENTS = {
    "README.md",
    "SHA256SUMS",
    "bundle.json",
    "cpp/CMakeLists.txt",
    "cpp/example.cpp",
    "example.py",
    "expected.pgm",
    "expected.png",
    "requirements.txt",
    "sample.png",
    "sample.ppm",
}
# Without `site` there are no .pth files, so that the installed packages are found but this project
# is not, however it was installed.
ALONE = """
import importlib.util, runpy, sys
sys.path.append(sys.argv.pop(1))
assert not any(importlib.util.find_spec(name) for name in ("export", "toolchain", "demo"))
runpy.run_path("example.py", run_name="__main__")
"""
FIGURES = {
    "Agreement with torch": {"argmax_agreement": 0.99987, "passed": True, "worst_map": None},
    "Latency": {
        "models": [{"latency_ms": {"median": 12.5}}],
        "environment": {"cpu": "a|b", "vector": ["avx2", "avx512f"]},
    },
}


def face() -> Array:
    """Draw a picture that is neither square nor of a model's size."""
    picture = np.full((300, 400, 3), (90, 120, 160), np.uint8)
    cv2.ellipse(picture, (200, 150), (90, 120), 0, 0, 360, (230, 190, 160), -1)
    for x in (165, 235):
        cv2.circle(picture, (x, 120), 12, (60, 40, 30), -1)
    cv2.ellipse(picture, (200, 210), (30, 10), 0, 0, 360, (180, 60, 70), -1)
    return picture


def files(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def changed(folder: Path) -> list[str]:
    """Return the files whose SHA-256 is not the recorded one."""
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    sums = dict(reversed(line.split("  ")) for line in lines)
    found = files(folder)
    assert sums.keys() == found.keys() - {"SHA256SUMS"}
    return [name for name in sums if hashlib.sha256(found[name]).hexdigest() != sums[name]]


def run(command: list[str | Path], folder: Path, **environment: str) -> tuple[int, list[str]]:
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | environment
    done = subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, timeout=200
    )
    return done.returncode, [*done.stdout.splitlines(), *done.stderr.splitlines()]


def run_example(folder: Path, *arguments: str | Path) -> tuple[int, list[str]]:
    packages = str(Path(cv2.__file__).parents[1])
    return run([sys.executable, "-I", "-S", "-c", ALONE, packages, *arguments], folder)


@pytest.fixture(scope="module")
def fp16(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return to_fp16(exported, tmp_path_factory.mktemp("half") / "half.onnx")


@pytest.fixture(scope="module")
def int8(
    exported: Path, pictures: list[tuple[str, Array]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("eighth") / "eighth.onnx"
    images = [cv2.resize(face(), (SIZE, SIZE)), *(image for _, image in pictures)]
    with Quantiser(exported, images) as quantiser:
        return quantiser.write(path)


@pytest.fixture(scope="module", params=["small", "shipped"])
def bundle(
    request: pytest.FixtureRequest, exported: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / request.param
    model, sample = exported, face()
    if request.param == "shipped":  # to which that is no face
        model, sample = SHIPPED, face_photo(512)[100:400]
    return write_bundle([model], folder, sample=sample, figures=FIGURES)


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "copy"))


def test_contents(bundle: Path) -> None:
    assert files(bundle).keys() == CONTENTS | {"model.onnx"}
    assert [path.name for path in bundle.parent.glob(".*")] == []


def test_checksums_find_a_changed_file(copy: Path) -> None:
    assert not changed(copy)
    with (copy / "cpp" / "example.cpp").open("a") as file:
        file.write("\n")
    assert changed(copy) == ["cpp/example.cpp"]


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="sha256sum is not installed")
def test_sha256sum_reads_the_checksums(copy: Path) -> None:
    command: list[str | Path] = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    assert run(command, copy)[0] == 0
    (copy / "model.onnx").write_bytes(b"")
    code, lines = run(command, copy)
    assert code == 1
    assert "model.onnx: FAILED" in lines


def test_expected_labels_are_those_of_the_model(bundle: Path) -> None:
    sample = np.asarray(Image.open(bundle / "sample.png"))
    with open_session(bundle / "model.onnx") as session:
        labels = session.run({"image": sample[None]})["labels"][0]
        palette = json.loads(session.metadata["palette"])
    expected = Image.open(bundle / "expected.png")
    assert len(np.unique(labels)) > 1
    assert (np.asarray(expected) == labels).all()
    assert (np.asarray(expected.convert("RGB")) == np.array(palette, np.uint8)[labels]).all()
    assert (np.asarray(Image.open(bundle / "expected.pgm")) == labels).all()
    assert (np.asarray(Image.open(bundle / "sample.ppm")) == sample).all()


def test_example_runs_without_this_project(bundle: Path) -> None:
    code, lines = run_example(bundle)
    assert (code, lines[-1]) == (
        0,
        "100.0000% of the pixels agree with expected.pgm (floor 99.9%)",
    )
    assert lines[-2].startswith("model.onnx: ")
    assert lines[-2].endswith(" ms")
    expected = np.asarray(Image.open(bundle / "expected.png"))
    shares = [float(line[:-1].split()[-1]) for line in lines[:-2]]
    counts = np.bincount(expected.ravel(), minlength=len(shares))
    assert np.allclose(shares, 100 * counts / expected.size, atol=0.005001)


def test_example_fails_on_other_labels(copy: Path) -> None:
    labels = cv2.imread(str(copy / "expected.pgm"), cv2.IMREAD_GRAYSCALE)
    labels[: len(labels) // 50 + 1] ^= 1
    cv2.imwrite(str(copy / "expected.pgm"), labels)
    code, lines = run_example(copy)
    assert code == 1
    assert 96 < float(lines[-1].split("%")[0]) < 99


def test_example_takes_a_picture_of_any_size(bundle: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "face.jpg"), face()[..., ::-1])
    code, lines = run_example(bundle, tmp_path / "face.jpg", "--output", tmp_path / "labels.png")
    assert code == 0
    assert "agree" not in lines[-1]
    coloured = cv2.imread(str(tmp_path / "labels.png"))[..., ::-1]
    assert coloured.shape == (300, 400, 3)
    # The network decides pixel by pixel, so that a picture with edges of grey is the oracle.
    wide = cv2.copyMakeBorder(face(), 50, 50, 0, 0, cv2.BORDER_CONSTANT, value=(127,) * 3)
    cv2.imwrite(str(tmp_path / "square.png"), wide[..., ::-1])
    run_example(bundle, tmp_path / "square.png", "--output", tmp_path / "wide.png")
    expected = cv2.imread(str(tmp_path / "wide.png"))[50:350, :, ::-1]
    # The JPEG moves a boundary here and there.
    assert (coloured == expected).all(-1).mean() > 0.95


def test_example_says_in_a_line_what_it_cannot_do(bundle: Path, tmp_path: Path) -> None:
    code, lines = run_example(bundle, "nothing.png")
    assert (code, lines[-1]) == (1, "nothing.png: cannot be read as a picture")
    (tmp_path / "file").touch()
    target = tmp_path / "file" / "labels.png"
    code, lines = run_example(bundle, "sample.png", "--output", target)
    assert (code, lines[-1]) == (1, f"{target}: cannot be written")


def test_example_is_short_and_needs_three_packages() -> None:
    text = (TEMPLATES / "example.py").read_text()
    assert len(text.splitlines()) <= 64
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert imported - sys.stdlib_module_names == {"cv2", "numpy", "onnxruntime"}
    required = {line.split(">")[0] for line in (TEMPLATES / "requirements.txt").read_text().split()}
    assert required == {"numpy", "onnxruntime", "opencv-python-headless"}


def test_precisions(exported: Path, fp16: Path, int8: Path, tmp_path: Path) -> None:
    folder = write_bundle([int8, exported, fp16], tmp_path / "b", sample=face())
    document = json.loads((folder / "bundle.json").read_text())
    assert document["reference"] == "model.onnx"
    assert document["floors"]["model.onnx"] == 0.999
    assert (folder / "model-int8.onnx").read_bytes() == int8.read_bytes()
    for file in document["files"]:
        code, lines = run_example(folder, "--model", file["file"])
        floor = document["floors"][file["file"]]
        assert code == 0
        assert 0.5 < floor < file["agreement"] <= 1
        assert lines[-1] == (
            f"{file['agreement']:.4%} of the pixels agree with expected.pgm (floor {floor:.1%})"
        )
        assert f"| `{file['file']}` | {file['precision']} |" in (folder / "README.md").read_text()


def test_cpp_example_takes_every_precision(
    exported: Path, fp16: Path, int8: Path, cpp_example: Path, tmp_path: Path
) -> None:
    folder = write_bundle([exported, fp16, int8], tmp_path / "b", sample=face())
    for name in ("model-fp16.onnx", "model-int8.onnx"):
        code, lines = run([cpp_example, "--model", name], folder)
        assert code == 0
        assert lines[-1] == run_example(folder, "--model", name)[1][-1]


def test_reference_without_fp32(fp16: Path, int8: Path, tmp_path: Path) -> None:
    folder = write_bundle([int8, fp16], tmp_path / "b", sample=face())
    assert json.loads((folder / "bundle.json").read_text())["reference"] == "model-fp16.onnx"
    code, lines = run_example(folder)
    assert code == 0
    assert lines[-2].startswith("model-fp16.onnx: ")


def test_model_card(exported: Path, tmp_path: Path) -> None:
    folder = write_bundle([exported], tmp_path / "b", sample=face(), figures=FIGURES)
    card = (folder / "README.md").read_text()
    for line in (
        "| 3 | class 3 | 3, 6, 252 |",
        "| genotype | [[0, [0, 1, 1, 9]], [[0, 1]]] |",
        "| encoder | mobilenetv2 |",
        "| data | synthetic:4 |",
        "| argmax_agreement | 0.99987 |",
        "| models.0.latency_ms.median | 12.5 |",
        r"| environment.cpu | a\|b |",
        "| environment.vector | avx2, avx512f |",
        f"- In: `image uint8 [1, {SIZE}, {SIZE}, 3]`, RGB, 0 to 255. Normalisation is inside.",
    ):
        assert line in card.splitlines()
    assert "**Weights: research only.**" in card
    assert f"one of {CLASSES} classes" in card
    assert "worst_map" not in card
    assert json.loads((folder / "bundle.json").read_text())["figures"] == FIGURES


def test_card_without_figures(exported: Path, tmp_path: Path) -> None:
    card = (write_bundle([exported], tmp_path / "b", sample=face()) / "README.md").read_text()
    assert "## Figures\nNone were given.\n" in card


def test_bundle_replaces_a_bundle(exported: Path, fp16: Path, tmp_path: Path) -> None:
    folder = write_bundle([exported, fp16], tmp_path / "b", sample=face())
    # From its own files, as when only the figures have changed.
    write_bundle([folder / "model.onnx"], folder, sample=face())
    assert files(folder).keys() == CONTENTS | {"model.onnx"}
    assert list(tmp_path.iterdir()) == [folder]
    assert not changed(folder)


def test_empty_folder_is_taken(exported: Path, tmp_path: Path) -> None:
    assert not changed(write_bundle([exported], tmp_path, sample=face()))


@pytest.mark.parametrize("name", ["notes.txt", "bundle.json"])
def test_other_folder_is_left_alone(exported: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(DataError, match="exists and is not a bundle"):
        write_bundle([exported], tmp_path, sample=face())
    with pytest.raises(DataError, match="exists and is not a bundle"):
        write_bundle([exported], tmp_path / name, sample=face())
    assert files(tmp_path) == {name: b"mine"}


def test_failure_leaves_the_old_bundle(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_bundle([exported], tmp_path / "b", sample=face())
    before = files(folder)

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("export.bundle.writing.checksums", full)
    with pytest.raises(DataError, match="No space left on device"):
        write_bundle([exported], folder, sample=face())
    assert files(folder) == before
    assert list(tmp_path.iterdir()) == [folder]


def unfit(what: str, exported: Path, fp16: Path, path: Path) -> list[Path]:
    """Return models that make no bundle; the second is written to ``path``."""
    if what == "none":
        return []
    if what == "twice":
        return [exported, exported]
    model = onnx.load(fp16)
    if what == "other weights":
        for tensor in model.graph.initializer:
            if tensor.data_type == onnx.TensorProto.FLOAT16:
                opposite = -numpy_helper.to_array(tensor)
                tensor.CopyFrom(numpy_helper.from_array(opposite, tensor.name))
    elif what == "other network":
        make_metadata(encoder="ghostnet").write(model)
    else:
        del model.metadata_props[:]
    onnx.save(model, path)
    return [exported, path]


@pytest.mark.parametrize(
    ("what", "error", "message"),
    [
        ("none", UsageError, "at least one model"),
        ("twice", UsageError, "are both fp32; give one"),
        ("other weights", GateError, r"b.onnx: only \d+\.\d+% of the sample's pixels agree"),
        ("other network", DataError, "b.onnx: is not of the same network as"),
        ("foreign", DataError, "b.onnx: has no metadata 'classes'"),
    ],
)
def test_models_that_make_no_bundle(
    exported: Path,
    fp16: Path,
    tmp_path: Path,
    what: str,
    error: type[NastoolError],
    message: str,
) -> None:
    models = unfit(what, exported, fp16, tmp_path / "b.onnx")
    with pytest.raises(error, match=message):
        write_bundle(models, tmp_path / "made" / "b", sample=face())
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "sample", [face()[..., 0], face().astype(np.float32), face()[..., :2], face()[:0]]
)
def test_samples_that_are_no_picture(exported: Path, tmp_path: Path, sample: Array) -> None:
    with pytest.raises(UsageError, match="the sample must be uint8"):
        write_bundle([exported], tmp_path / "b", sample=sample)


def cpp_problem() -> str | None:
    for tool in ("cmake", "g++"):
        if not shutil.which(tool):
            return f"{tool} is not installed"
    if os.environ.get("ONNXRUNTIME_ROOT"):
        return None
    found = shutil.which("pkg-config") and not subprocess.call(
        ["pkg-config", "--exists", "libonnxruntime"]
    )
    return None if found else "ONNX Runtime for C++ is not installed; set ONNXRUNTIME_ROOT"


@pytest.fixture(scope="module")
def cpp_example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if problem := cpp_problem():
        pytest.skip(problem)
    build = tmp_path_factory.mktemp("cpp")
    for command in (["cmake", "-S", TEMPLATES / "cpp", "-B", build], ["cmake", "--build", build]):
        code, lines = run(command, build, CXXFLAGS="-Wall -Wextra -Werror")
        assert code == 0, "\n".join(lines)
    return build / "example"


def test_cpp_example_agrees(bundle: Path, cpp_example: Path) -> None:
    code, lines = run([cpp_example], bundle)
    assert code == 0, lines
    assert lines[-1] == "100.0000% of the pixels agree with expected.pgm (floor 99.9%)"
    assert [line.split() for line in lines[:-2]] == [
        line.split() for line in run_example(bundle)[1][:-2]
    ]


def test_cpp_example_fails_on_other_labels(copy: Path, cpp_example: Path) -> None:
    picture = bytearray((copy / "expected.pgm").read_bytes())
    for i in range(1, len(picture) // 50):
        picture[-i] ^= 1
    (copy / "expected.pgm").write_bytes(picture)
    code, lines = run([cpp_example], copy)
    assert code == 1
    assert 96 < float(lines[-1].split("%")[0]) < 99


def test_cpp_example_takes_a_picture_of_any_size(
    bundle: Path, cpp_example: Path, tmp_path: Path
) -> None:
    Image.fromarray(face()).save(tmp_path / "face.ppm")
    arguments = [tmp_path / "face.ppm", "--output"]
    assert run_example(bundle, *arguments, tmp_path / "python.png")[0] == 0
    assert run([cpp_example, *arguments, tmp_path / "cpp.ppm"], bundle)[0] == 0
    first, second = (np.asarray(Image.open(tmp_path / name)) for name in ("python.png", "cpp.ppm"))
    # They enlarge differently.
    assert first.shape == second.shape == (300, 400, 3)
    assert (first == second).all(-1).mean() > 0.9


def test_cpp_example_names_what_it_cannot_read(bundle: Path, cpp_example: Path) -> None:
    code, lines = run([cpp_example, "nothing.ppm"], bundle)
    assert (code, len(lines)) == (2, 1)
    assert "nothing.ppm" in lines[0]
