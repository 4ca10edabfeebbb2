from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from export.system.errors import DataError, UsageError
from toolchain.datasets.seen import SeenImages
from toolchain.training.checkpoints import (
    FORMAT_VERSION,
    load_segmenter,
    read_checkpoint,
    save_checkpoint,
)


def test_a_network_comes_back_as_it_was(tmp_path, info, network):
    save_checkpoint(tmp_path / "new" / "a.pt", info, network.state_dict())
    loaded, loaded_info = load_segmenter(tmp_path / "new" / "a.pt")
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(loaded(images), network.eval()(images))
    assert loaded_info == info
    assert not loaded.training


def test_the_state_of_a_training_comes_back(tmp_path, info, network):
    resume = {"history": [{"epoch": 1, "f1": {"nose": None}}], "moments": torch.ones(2)}
    save_checkpoint(tmp_path / "a.pt", info, network.state_dict(), resume)
    _, document = read_checkpoint(tmp_path / "a.pt")
    assert document["resume"]["history"] == resume["history"]
    assert torch.equal(document["resume"]["moments"], resume["moments"])


def test_a_checkpoint_describes_its_export(info):
    metadata = info.metadata()
    assert metadata.classes[2] == "nose"
    assert metadata.palette == list(info.label_set.palette)
    assert (metadata.genotype, metadata.input_size) == (info.genotype, 64)
    assert metadata.seen is None
    seen = SeenImages(frozenset({7, 2**32 - 1})).encode()
    assert replace(info, seen=seen).metadata().seen == seen


def test_what_a_network_has_seen_comes_back(tmp_path, info, network):
    seen = SeenImages(frozenset(range(0, 2**32, 2**22)))
    save_checkpoint(tmp_path / "a.pt", replace(info, seen=seen.encode()), network.state_dict())
    assert SeenImages.decode(read_checkpoint(tmp_path / "a.pt")[0].seen) == seen


@pytest.mark.parametrize(
    ("version", "lacks"), [(1, ("seen", "working_size")), (2, ["working_size"])]
)
def test_a_file_of_an_earlier_version_does_not_say_what_it_lacks(
    tmp_path, info, network, version, lacks
):
    save_checkpoint(tmp_path / "a.pt", info, network.state_dict())
    document = torch.load(tmp_path / "a.pt", weights_only=True)
    for name in lacks:
        del document[name]
    torch.save({**document, "format_version": version}, tmp_path / "a.pt")
    loaded, loaded_info = load_segmenter(tmp_path / "a.pt")
    assert (loaded_info, loaded_info.seen) == (info, None)
    own = network.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in loaded.state_dict().items())


def test_a_working_size_comes_back_and_is_told(tmp_path, info, network):
    said = replace(info, input_size=128, working_size=96)
    save_checkpoint(tmp_path / "a.pt", said, network.state_dict())
    _, loaded = load_segmenter(tmp_path / "a.pt")
    assert loaded == said
    assert (loaded.network_size, loaded.shrink) == (96, Fraction(3, 4))
    assert (loaded.architecture.working_size, loaded.metadata().working_size) == (96, 96)
    assert (info.network_size, info.shrink, info.architecture.working_size) == (64, 1, None)


def test_the_same_network_at_other_sizes(info):
    both = info.at(128, 64)
    assert (both.input_size, both.working_size) == (128, 64)
    assert (info.at(), both.at()) == (info, both)
    assert both.at(input_size=96).working_size == 64
    assert both.at(input_size=64) == both.at(64, 64) == info
    for wrong in ((32, None), (None, 160), (None, 40)):
        with pytest.raises(UsageError, match="give another --working-size or --input-size"):
            both.at(*wrong)


def rewrite(path, **changes):
    document = torch.load(path, weights_only=True)
    torch.save({**document, **changes}, path)


@pytest.mark.parametrize(
    ("break_it", "problem"),
    [
        (lambda path: path.unlink(), "does not exist"),
        (lambda path: path.write_bytes(b""), "not a torch file, or is truncated"),
        (lambda path: path.write_text("hello"), "not a torch file, or is truncated"),
        (lambda path: path.write_bytes(path.read_bytes()[:3000]), "is truncated"),
        (lambda path: torch.save({"conv00.weight": torch.ones(1)}, path), "not a checkpoint"),
        (lambda path: torch.save([1], path), "not a checkpoint"),
        (
            lambda path: rewrite(path, format_version=FORMAT_VERSION + 1),
            f"has format_version {FORMAT_VERSION + 1}",
        ),
        (lambda path: rewrite(path, working_size=96), "damaged checkpoint (the working size is 96"),
        (lambda path: rewrite(path, working_size="?"), "damaged checkpoint"),
        (lambda path: rewrite(path, seen="?"), "damaged checkpoint (is no record of images"),
        (lambda path: rewrite(path, label_set={"name": "x"}), "damaged checkpoint"),
        (lambda path: rewrite(path, genotype="[[11], [[0, 1]]]"), "operation 0: 11"),
        (
            lambda path: rewrite(path, model={}, checksum=None),
            "does not hold its network's weights",
        ),
        (lambda path: rewrite(path, model={}), "is damaged (its checksum is another)"),
    ],
)
def test_a_broken_file_is_one_line_that_names_it(tmp_path, info, network, break_it, problem):
    path = tmp_path / "a.pt"
    save_checkpoint(path, info, network.state_dict())
    break_it(path)
    with pytest.raises(DataError) as caught:
        load_segmenter(path)
    assert str(path) in str(caught.value)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_code_in_a_file_is_not_run(tmp_path):
    torch.save(print, tmp_path / "a.pt")
    with pytest.raises(DataError, match="not a torch file"):
        read_checkpoint(tmp_path / "a.pt")


def test_a_flipped_bit_is_never_a_slightly_other_network(tmp_path, info, network):
    """Wherever it is: an error, or (between the entries of the archive) the very same weights."""
    path = tmp_path / "a.pt"
    save_checkpoint(path, info, network.state_dict())
    whole = path.read_bytes()
    own = network.state_dict()
    refused = []
    for place in range(100, len(whole), len(whole) // 60):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        try:
            loaded, _ = load_segmenter(path)
        except DataError as error:
            refused.append(str(error))
        else:
            assert all(torch.equal(value, own[name]) for name, value in loaded.state_dict().items())
    assert len(refused) > 40
    assert all("\n" not in message for message in refused)


def test_other_weights_than_were_written_are_refused_however_whole_the_file_is(
    tmp_path, info, network
):
    path = tmp_path / "a.pt"
    save_checkpoint(path, info, network.state_dict(), {"history": [1.5, None], "moments": [()]})
    model = torch.load(path, weights_only=True)["model"]
    name = next(name for name, value in model.items() if value.dim() > 1)
    # The checksums of the archive are made anew.
    rewrite(path, model=model | {name: model[name] + 2**-20})
    with pytest.raises(DataError, match=r"a\.pt: is damaged \(its checksum is another\)"):
        load_segmenter(path)
    rewrite(path, model=model)
    load_segmenter(path)


def test_a_checkpoint_without_its_version_is_damaged(tmp_path, info, network):
    save_checkpoint(tmp_path / "a.pt", info, network.state_dict())
    rewrite(tmp_path / "a.pt", format_version=None)
    with pytest.raises(DataError, match=r"a\.pt: is a damaged checkpoint \(no format_version\)"):
        read_checkpoint(tmp_path / "a.pt")
