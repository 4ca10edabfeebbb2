"""What the page consists of, what it is told of a model, and the folder that it becomes."""

import json
import re
import shutil

import pytest

import demo.web.site
from demo.web.site import HEADERS, POLICY, Site, describe
from export.onnx_file.metadata import ModelMetadata
from export.system.errors import DataError, UnavailableError

# fmt: off
CELEBA = [
    "background", "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear",
    "mouth", "u_lip", "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth",
]
# fmt: on


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_parts_by_which_a_face_is_known():
    metadata = ModelMetadata(
        classes=CELEBA, palette=[(0, 0, 0)] * 19, input_size=512, licence="none needed"
    )
    document = describe("model", metadata)
    names = {part: {CELEBA[label] for label in found} for part, found in document["parts"].items()}
    features = {"nose", "l_eye", "r_eye", "l_brow", "r_brow", "mouth", "u_lip", "l_lip"}
    assert names == {
        "face": {"skin", *features},
        "features": features,
        "hair": {"hair"},
        "lips": {"u_lip", "l_lip"},
    }
    assert document["classes"][4] == "left eye"


def test_folder(page_sources, web_model, tmp_path):
    site = Site.make(web_model)
    site.write(tmp_path / "made" / "site")
    found = contents(tmp_path / "made" / "site")
    assert found.pop("_headers").decode() == "\n".join(
        ["/*", *(f"  {name}: {value}" for name, value in HEADERS.items()), ""]
    )
    readme = found.pop("README.md").decode()
    assert "Cross-Origin-Embedder-Policy: require-corp" in readme
    assert found == {address: site.read(address) for address in site.files}
    assert found["model.onnx"] == web_model.read_bytes()
    assert found["onnxruntime/runtime.wasm"] == b"\0asm"
    assert json.loads(found["model.json"])["name"] == "tiny"
    assert f'content="{POLICY}"' in found["index.html"].decode()


def test_folder_replaces_an_older_one_alone(page_sources, web_model, tmp_path):
    site = Site.make(web_model)
    site.write(tmp_path / "site")
    (tmp_path / "site" / "old.js").write_text("")
    site.write(tmp_path / "site")
    assert not (tmp_path / "site" / "old.js").exists()
    other = tmp_path / "photos"
    other.mkdir()
    (other / "index.html").write_text("mine")
    with pytest.raises(DataError, match=r"photos: exists and is not a page of nastool demo"):
        site.write(other)
    assert contents(other) == {"index.html": b"mine"}


def test_folder_appears_whole_or_not_at_all(page_sources, web_model, tmp_path):
    site = Site.make(web_model)
    shutil.rmtree(page_sources / "page" / "onnxruntime")
    with pytest.raises(DataError, match="cannot be written"):
        site.write(tmp_path / "made" / "site")
    assert list((tmp_path / "made").iterdir()) == []


def test_page_that_is_not_built(page_sources, web_model):
    shutil.rmtree(page_sources / "page" / "onnxruntime")
    with pytest.raises(UnavailableError, match="'make web'"):
        Site.make(web_model)


def test_sources_name_no_other_place():
    # The CSP would stop requests elsewhere; there is nothing to stop.
    for path in (demo.web.site.HERE / "page").glob("*.*"):
        addresses = re.findall(r"\bhttps?://[^\s\"'<>]+", path.read_text(encoding="utf-8"))
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}, path
