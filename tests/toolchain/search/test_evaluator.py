from dataclasses import replace

import numpy as np
import pytest
import torch

from export.onnx_file.writing import normalise
from export.system.errors import DataError, UsageError
from toolchain.architecture import Architecture
from toolchain.datasets import open_dataset
from toolchain.datasets.labels import IGNORED
from toolchain.genotype import Genotype
from toolchain.networks.segmenter import build_segmenter
from toolchain.networks.units import DilatedConvolution, shrink_dilations
from toolchain.search import evaluator
from toolchain.search.evaluator import CandidateEvaluator
from toolchain.search.feature_cache import FeatureCache, SearchImages, fill_cache
from toolchain.search.shared_arrays import SharedArrays
from toolchain.search.trial import Candidate, CandidateError, Failure
from toolchain.settings.search_settings import EvaluationSettings
from toolchain.training.checkpoints import CheckpointInfo, load_segmenter, save_checkpoint
from toolchain.training.initialisation import settle_batch_norms
from toolchain.training.losses import resize_logits
from toolchain.training.precision import MixedPrecision
from toolchain.training.samples import some_images

ENCODER = "ghostnet-0.1"
GENOTYPE = Genotype.parse("2 [0,1,2,9] [0,1] [2,4]")
CANDIDATE = Candidate(3, Architecture(GENOTYPE, ENCODER))
SMALL = EvaluationSettings(search_size=64, search_images=16, search_validation=6, batch_size=8)


def changed(settings, **values):
    return settings.model_copy(update=values)


LONG = changed(SMALL, decoder_epochs=20, joint_epochs=20)


@pytest.fixture(scope="module")
def faces():
    return open_dataset("synthetic:30")


@pytest.fixture(scope="module")
def images(faces):
    return SearchImages(faces.subset(range(16)), faces.subset(range(16, 30)), 6)


@pytest.fixture(scope="module")
def prepare(images, tmp_path_factory):
    def prepared(settings=SMALL, encoders=(ENCODER,), **more):
        shared = SharedArrays(tmp_path_factory.mktemp("arrays"))
        return fill_cache(shared, images, settings, encoders, more.pop("weights", {}), **more)

    return prepared


@pytest.mark.parametrize("role", ["train", "score"])
def test_masks_that_leave_out_every_pixel_are_not_searched_on(faces, tmp_path, monkeypatch, role):
    parts = {"train": faces.subset(range(16)), "score": faces.subset(range(16, 30))}
    read = parts[role].read

    def without_labels(index):
        sample = read(index)
        return replace(sample, labels=np.full_like(sample.labels, IGNORED))

    monkeypatch.setattr(parts[role], "read", without_labels)
    with pytest.raises(DataError, match=r"the masks of this image .* leave out every pixel; write"):
        fill_cache(SharedArrays(tmp_path), SearchImages(**parts, scored=6), SMALL, (ENCODER,), {})


@pytest.fixture(scope="module")
def cache(prepare):
    return prepare()


def test_images_are_of_the_parts_and_those_of_fewer_are_among_those_of_more():
    parts = ("search-train", "search-score")
    few, many = (
        SearchImages.open(
            "synthetic:600", None, changed(SMALL, search_validation=n), parts, again=True
        )
        for n in (8, 14)
    )
    assert len(few.train) == 16
    assert not set(few.train.names) & set(few.score.names)
    assert (few.scored, len(few.score)) == (8, 24)
    assert set(few.score.names[:8]) <= set(many.score.names[:14])
    assert set(few.score.names) <= set(many.score.names)
    assert len(set(few.score.names)) == 24
    plain = SearchImages.open("synthetic:600", None, SMALL, parts, again=False)
    assert len(plain.score) == plain.scored == 6


@pytest.mark.parametrize("role", ["train", "score"])
@torch.no_grad()
def test_features_are_what_the_encoder_gives(cache, role):
    cached = cache.images(role)
    expected = cache.encoders[ENCODER](normalise(cached.images))
    for feature, tap in zip(cached.features[ENCODER], expected, strict=True):
        torch.testing.assert_close(
            feature.permute(0, 3, 1, 2).float(), tap[: len(feature)], rtol=2e-3, atol=2e-3
        )


def test_what_is_announced_is_what_is_held(images, cache):
    announced = images.bytes_needed(SMALL, [ENCODER], teacher=False)
    assert sum(announced.values()) == sum(array.nbytes for array in cache.arrays.values())
    features = [a for name, a in cache.arrays.items() if "features" in name]
    assert announced["features"] == sum(array.nbytes for array in features)


def test_a_cache_survives_pickling_with_its_files_gone(prepare):
    import pickle

    cache = prepare()
    copied = pickle.loads(pickle.dumps(cache))
    assert isinstance(copied, FeatureCache)
    assert not any(isinstance(array, np.memmap) for array in copied.arrays.values())
    scores = [CandidateEvaluator(c, SMALL)(CANDIDATE).score for c in (cache, copied)]
    assert scores[0] == scores[1]


def test_digests_tell_other_images_and_labels(prepare):
    first, cache = prepare().digests(), prepare()
    assert first == cache.digests()
    cache.arrays["train.labels"][3, 0, 0] += 1
    changed_one = cache.digests()
    assert [name for name in first if first[name] != changed_one[name]] == [
        "--data (images to train on)"
    ]


def test_a_candidate_is_evaluated_the_same_way_twice_whatever_came_before(cache):
    evaluate = CandidateEvaluator(cache, SMALL)
    before = [p.clone() for p in cache.encoders[ENCODER].parameters()]
    first = evaluate(CANDIDATE)
    evaluate(Candidate(4, Architecture(Genotype.parse("1 [0,3]"), ENCODER)))
    state = torch.random.get_rng_state()
    again = evaluate(CANDIDATE)
    assert first.score == again.score
    assert 0 <= first.score <= 1
    assert set(first.phases) == {"stage0", "stage1", "scoring"}
    assert torch.equal(state, torch.random.get_rng_state())
    # Joint training changed a copy: the next candidate starts from the same encoder.
    after = cache.encoders[ENCODER].parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_chance_is_common_to_all_candidates(cache):
    """Equal networks score alike, whatever their trials' numbers; others see the same order."""
    evaluate = CandidateEvaluator(cache, SMALL)
    assert evaluate(CANDIDATE).score == evaluate(replace(CANDIDATE, number=77)).score
    orders = []
    for genotype in (GENOTYPE, Genotype.parse("1 [0,3] [1,2] [2,5]")):
        architecture = Architecture(genotype, ENCODER)
        candidate = replace(CANDIDATE, architecture=architecture)
        training = evaluator._Training(evaluate, candidate, SMALL)
        torch.rand(len(str(genotype)))
        orders.append(torch.cat([step for epoch in training._epochs(2, []) for step in epoch]))
    assert torch.equal(*orders)
    assert not torch.equal(orders[0][:16], orders[0][16:])


def test_scoring_again_trains_longer_and_on_more_images(cache, monkeypatch):
    evaluate = CandidateEvaluator(cache, SMALL)
    scored = []
    monkeypatch.setattr(
        evaluator.ConfusionMatrix, "update", lambda self, labels, _: scored.append(len(labels))
    )
    monkeypatch.setattr(evaluator.ConfusionMatrix, "f1", [None, 0.5, *[None] * 17])
    steps = []
    real = MixedPrecision.step
    monkeypatch.setattr(MixedPrecision, "step", lambda *args: (steps.append(1), real(*args))[1])
    first = evaluate(CANDIDATE)
    assert (sum(scored), len(steps)) == (6 + 6, 2 * 2 + 2 * 1)
    assert first.stage0_score is not None
    scored.clear()
    steps.clear()
    again = evaluate(replace(CANDIDATE, rescored=True))
    assert (sum(scored), len(steps)) == (14, 3 * (2 * 2 + 2 * 1))
    assert again.stage0_score is None


def test_more_training_gives_a_better_score(cache):
    scores = [CandidateEvaluator(cache, s)(CANDIDATE).score for s in (SMALL, LONG)]
    assert scores[1] > scores[0] + 0.05


def test_the_score_after_stage_0_is_that_of_a_search_without_stage_1(cache):
    both = CandidateEvaluator(cache, LONG)(CANDIDATE)
    decoder_alone = CandidateEvaluator(cache, changed(LONG, joint_epochs=0))(CANDIDATE)
    assert decoder_alone.stage0_score is None
    # Features are kept in 16 bits; the image goes through the encoder in 32.
    assert both.stage0_score == pytest.approx(decoder_alone.score, abs=0.01)
    assert both.score != both.stage0_score


def test_a_candidate_is_stopped_after_stage_0(cache):
    evaluate = CandidateEvaluator(cache, SMALL)
    whole = evaluate(CANDIDATE)
    stopped = evaluate(replace(CANDIDATE, stop_below=whole.stage0_score + 1e-6))
    assert stopped.score is None
    assert stopped.stage0_score == whole.stage0_score
    assert "stage1" not in stopped.phases
    going_on = evaluate(replace(CANDIDATE, stop_below=whole.stage0_score))
    assert going_on.score == whole.score


@pytest.mark.parametrize(
    "switched",
    [
        {"auxiliary_weight": 0.0},
        {"presence_weight": 0.0},
        {"polyak": False},
        {"half": True},
        {"decoder_epochs": 0},
        {"joint_epochs": 0},
    ],
    ids=str,
)
def test_every_part_of_the_procedure_has_a_switch(cache, switched):
    settings = changed(SMALL, decoder_epochs=8, joint_epochs=8)
    scores = [
        CandidateEvaluator(cache, s)(CANDIDATE).score
        for s in (settings, changed(settings, **switched))
    ]
    assert scores[0] != scores[1]


def test_parts_choose_what_is_scored(cache):
    with pytest.raises(UsageError, match="no part is named 'necklace'; the data has background"):
        CandidateEvaluator(cache, changed(SMALL, parts=("necklace",)))
    hair = changed(LONG, parts=("hair",))
    scores = [CandidateEvaluator(cache, s)(CANDIDATE).score for s in (hair, LONG)]
    assert scores[0] != scores[1]


def save_teacher(path, faces, size):
    info = CheckpointInfo(
        genotype=str(GENOTYPE),
        encoder=ENCODER,
        aggregation=48,
        label_set=faces.label_set,
        input_size=size,
        licence="none",
    )
    network = info.build()
    settle_batch_norms(network, some_images(faces, size))
    save_checkpoint(path, info, network.state_dict())


def test_a_teacher_is_imitated_at_the_resolution_of_the_labels(faces, cache, prepare, tmp_path):
    save_teacher(tmp_path / "teacher.pt", faces, 64)
    taught = prepare(teacher=tmp_path / "teacher.pt")
    cached = taught.images("train")
    teacher, _ = load_segmenter(tmp_path / "teacher.pt")
    with torch.no_grad():
        expected = resize_logits(teacher.deployable(64)(normalise(cached.images)), (16, 16))
    targets = cached.targets.permute(0, 3, 1, 2).float()
    torch.testing.assert_close(targets, expected, rtol=2e-3, atol=2e-3)
    settings = changed(SMALL, decoder_epochs=8, joint_epochs=8)
    alone = CandidateEvaluator(cache, settings)(CANDIDATE).score
    assert CandidateEvaluator(taught, settings)(CANDIDATE).score != alone
    ignored = changed(settings, distillation_weight=0.0)
    assert CandidateEvaluator(taught, ignored)(CANDIDATE).score == alone


def test_a_teacher_of_another_resolution_sees_its_own(faces, prepare, tmp_path):
    save_teacher(tmp_path / "teacher.pt", faces, 128)
    taught = prepare(teacher=tmp_path / "teacher.pt")
    targets = taught.images("train").targets.float().numpy()
    assert np.isfinite(targets).all()
    assert np.ptp(targets) > 0


def test_a_loss_that_is_not_finite_fails_the_candidate(cache, monkeypatch):
    nan = torch.tensor(float("nan"), requires_grad=True)
    monkeypatch.setattr(evaluator, "cross_entropy", lambda *_: nan)
    with pytest.raises(CandidateError, match="not finite") as raised:
        CandidateEvaluator(cache, SMALL)(CANDIDATE)
    assert raised.value.kind is Failure.NOT_FINITE


def test_outputs_that_are_not_finite_are_a_failure_and_no_score(cache, monkeypatch):
    def spoil(self, optimisers, parameters, gradient_norm):
        for parameter in parameters:
            parameter.data.fill_(float("nan"))

    monkeypatch.setattr(MixedPrecision, "step", spoil)
    settings = changed(SMALL, search_images=8, decoder_epochs=1)
    with pytest.raises(CandidateError, match="not finite"):
        CandidateEvaluator(cache, settings)(CANDIDATE)


def test_out_of_memory_fails_the_candidate_and_a_bug_does_not(cache, monkeypatch):
    evaluate = CandidateEvaluator(cache, SMALL)

    def raises(error):
        def fail(*_):
            raise error

        monkeypatch.setattr(evaluator, "cross_entropy", fail)

    raises(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 EB"))
    with pytest.raises(CandidateError, match="out of memory: DefaultCPUAllocator") as raised:
        evaluate(CANDIDATE)
    assert raised.value.kind is Failure.OUT_OF_MEMORY
    raises(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        evaluate(CANDIDATE)


SIZED = changed(SMALL, input_size=128, working_sizes=(64, 128))


@pytest.fixture(scope="module")
def sized(prepare):
    return prepare(SIZED)


def test_a_working_size_shrinks_the_images_and_not_what_is_scored(sized):
    assert sized.sides == {64: 32, 128: 64}
    small, whole = (sized.images("train", size) for size in (64, 128))
    assert (small.images.shape[1:3], whole.images.shape[1:3]) == ((32, 32), (64, 64))
    # As the file does it: each pixel is the mean of four.
    means = whole.images.float().reshape(-1, 32, 2, 32, 2, 3).mean((2, 4))
    assert (small.images.float() - means).abs().max() <= 0.5 + 1e-6
    assert torch.equal(small.labels, whole.labels)
    assert small.labels.shape[1:] == (64, 64)
    assert small.small_labels.shape[1:] == (8, 8)
    assert [tap.shape[1] for tap in small.features[ENCODER]] == [8, 4, 2, 1]


def test_a_candidate_is_trained_at_its_working_size(sized):
    evaluate = CandidateEvaluator(sized, changed(SIZED, decoder_epochs=6))
    scores = [evaluate(Candidate(0, Architecture(GENOTYPE, ENCODER, s))).score for s in (64, 128)]
    assert scores[0] != scores[1]
    alone = changed(SMALL, decoder_epochs=6)
    assert evaluate(Candidate(1, Architecture(GENOTYPE, ENCODER, 128))).score == scores[1]
    assert alone.sides == {None: 64}


@pytest.mark.parametrize("size", [250, 544, 0, -32])
def test_a_wrong_working_size_is_refused(size):
    with pytest.raises(UsageError, match="--working-size"):
        EvaluationSettings.of(working_sizes=(256, size))


def test_every_epoch_is_scored_where_that_is_asked_for(cache):
    plain = CandidateEvaluator(cache, changed(SMALL, early_stop=False))(CANDIDATE)
    found = CandidateEvaluator(cache, changed(SMALL, early_stop=False, every_epoch=True))(CANDIDATE)
    assert plain.epoch_scores == []
    assert len(found.epoch_scores) == SMALL.decoder_epochs + SMALL.joint_epochs
    # To look is not to touch.
    assert found.epoch_scores[-1] == found.score == plain.score
    early = CandidateEvaluator(cache, changed(SMALL, early_stop=True, every_epoch=True))
    stopping = early(CANDIDATE)
    assert stopping.stage0_score == stopping.epoch_scores[SMALL.decoder_epochs - 1]
    assert early(replace(CANDIDATE, rescored=True)).epoch_scores == []


def test_dilations_are_shrunk_by_as_much_as_the_images(cache, monkeypatch):
    scales = []
    monkeypatch.setattr(evaluator, "shrink_dilations", lambda _, scale: scales.append(scale))
    CandidateEvaluator(cache, SMALL)(CANDIDATE)
    CandidateEvaluator(cache, changed(SMALL, shrink_dilations=False))(CANDIDATE)
    assert scales == [SMALL.search_size / SMALL.input_size]


def test_dilations_shrink_with_the_images():
    network = build_segmenter(Genotype.parse("6 [0,1,7,8] [0,1]"), ENCODER)
    shrink_dilations(network, 0.375)
    convolutions = [m for m in network.modules() if isinstance(m, DilatedConvolution)]
    found = {(m.kernel_size[0], m.groups > 1): (m.dilation[0], m.padding[0]) for m in convolutions}
    # 12, 3 and 6 pixels; a 5x5 kernel reaches two dilations far.
    assert found == {(3, False): (4, 4), (3, True): (1, 1), (5, True): (2, 4)}
    images = torch.randn(2, 3, 64, 64)
    assert network(images).shape == (2, 19, 16, 16)
