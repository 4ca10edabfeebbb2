from dataclasses import replace

import numpy as np
import pytest
import torch

from export.errors import DataError, UsageError
from export.onnx import normalise
from toolchain.datasets import open_dataset
from toolchain.genotype import Genotype
from toolchain.search import evaluation
from toolchain.search.candidate import Candidate, CandidateError, Failure
from toolchain.search.evaluation import CandidateEvaluator
from toolchain.search.memory import SearchMemory, memory_bytes, prepare_memory
from toolchain.search.settings import EvaluationSettings
from toolchain.search.shelf import Shelf
from toolchain.training.checkpoints import CheckpointInfo, load_segmenter, save_checkpoint
from toolchain.training.losses import upsample
from toolchain.training.precision import MixedPrecision

ENCODER = "ghostnet-0.1"
GENOTYPE = Genotype.parse("2 [0,1,2,9] [0,1] [2,4]")
CANDIDATE = Candidate(3, GENOTYPE, ENCODER)
SMALL = EvaluationSettings(size=64, images=16, validation_images=6, batch_size=8)
LONG = replace(SMALL, decoder_epochs=20, joint_epochs=20)


@pytest.fixture(scope="module")
def faces():
    return open_dataset("synthetic:24")


@pytest.fixture(scope="module")
def prepare(faces, tmp_path_factory):
    def prepared(settings=SMALL, encoders=(ENCODER,), **more):
        shelf = Shelf(tmp_path_factory.mktemp("shelf"))
        return prepare_memory(shelf, faces, settings, encoders, **more)

    return prepared


@pytest.fixture(scope="module")
def memory(prepare):
    return prepare()


def test_images_to_train_and_to_score_on_are_disjoint_and_seeded(prepare):
    memories = [prepare(seed=seed) for seed in (0, 0, 1)]
    train, validation = (memories[0].pictures(split).images for split in ("train", "validation"))
    assert len(train) == 16
    assert len(validation) == 6
    assert not any(torch.equal(a, b) for a in train for b in validation)
    assert torch.equal(train, memories[1].pictures("train").images)
    assert not torch.equal(train, memories[2].pictures("train").images)


@pytest.mark.parametrize("split", ["train", "validation"])
@torch.no_grad()
def test_features_are_what_the_encoder_gives(memory, split):
    pictures = memory.pictures(split)
    expected = memory.encoders[ENCODER](normalise(pictures.images))
    for feature, tap in zip(pictures.features[ENCODER], expected, strict=True):
        torch.testing.assert_close(feature.permute(0, 3, 1, 2).float(), tap, rtol=2e-3, atol=2e-3)


def test_what_is_announced_is_what_is_held(memory):
    announced = memory_bytes(SMALL, [ENCODER], memory.classes)
    assert sum(announced.values()) == sum(array.nbytes for array in memory.arrays.values())
    features = [a for name, a in memory.arrays.items() if "features" in name]
    assert announced["features"] == sum(array.nbytes for array in features)


def test_a_memory_survives_pickling_with_its_files_gone(prepare, tmp_path):
    import pickle

    memory = prepare()
    copied = pickle.loads(pickle.dumps(memory))
    assert isinstance(copied, SearchMemory)
    assert not any(isinstance(array, np.memmap) for array in copied.arrays.values())
    scores = [CandidateEvaluator(m, SMALL)(CANDIDATE).score for m in (memory, copied)]
    assert scores[0] == scores[1]


def test_a_candidate_is_judged_the_same_way_twice_whatever_came_before(memory):
    judge = CandidateEvaluator(memory, SMALL)
    before = [p.clone() for p in memory.encoders[ENCODER].parameters()]
    first = judge(CANDIDATE)
    judge(Candidate(4, Genotype.parse("1 [0,3]"), ENCODER))
    state = torch.random.get_rng_state()
    again = judge(CANDIDATE)
    assert first.score == again.score
    assert 0 <= first.score <= 1
    assert set(first.split) == {"stage0", "stage1", "validation"}
    assert torch.equal(state, torch.random.get_rng_state())
    # Joint training changed a copy: the next candidate starts from the same encoder.
    after = memory.encoders[ENCODER].parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_more_training_gives_a_better_score(memory):
    scores = [CandidateEvaluator(memory, s)(CANDIDATE).score for s in (SMALL, LONG)]
    assert scores[1] > scores[0] + 0.05


def test_the_score_after_stage_0_is_that_of_a_search_without_stage_1(memory):
    both = CandidateEvaluator(memory, LONG)(CANDIDATE)
    decoder_alone = CandidateEvaluator(memory, replace(LONG, joint_epochs=0))(CANDIDATE)
    assert decoder_alone.stage0_score is None
    # Features are kept in 16 bits; the image goes through the encoder in 32.
    assert both.stage0_score == pytest.approx(decoder_alone.score, abs=0.01)
    assert both.score != both.stage0_score


def test_a_hopeless_candidate_is_stopped_after_stage_0(memory):
    judge = CandidateEvaluator(memory, SMALL)
    whole = judge(CANDIDATE)
    stopped = judge(replace(CANDIDATE, stop_below=whole.stage0_score + 1e-6))
    assert stopped.stopped
    assert stopped.score == stopped.stage0_score == whole.stage0_score
    assert "stage1" not in stopped.split
    going_on = judge(replace(CANDIDATE, stop_below=whole.stage0_score))
    assert not going_on.stopped
    assert going_on.score == whole.score


@pytest.mark.parametrize(
    "changed",
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
def test_every_part_of_the_procedure_has_a_switch(memory, changed):
    settings = replace(SMALL, decoder_epochs=4, joint_epochs=4)
    scores = [
        CandidateEvaluator(memory, s)(CANDIDATE).score
        for s in (settings, replace(settings, **changed))
    ]
    assert scores[0] != scores[1]


def test_parts_choose_what_is_scored(memory):
    with pytest.raises(UsageError, match="no part is named 'necklace'; the data has background"):
        CandidateEvaluator(memory, replace(SMALL, parts=("necklace",)))
    hair = replace(LONG, parts=("hair",))
    scores = [CandidateEvaluator(memory, s)(CANDIDATE).score for s in (hair, LONG)]
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
    save_checkpoint(path, info, info.build().state_dict())


def test_a_teacher_is_imitated_at_the_resolution_of_the_labels(faces, memory, prepare, tmp_path):
    save_teacher(tmp_path / "teacher.pt", faces, 64)
    taught = prepare(teacher=tmp_path / "teacher.pt")
    pictures = taught.pictures("train")
    teacher, _ = load_segmenter(tmp_path / "teacher.pt")
    with torch.no_grad():
        expected = upsample(teacher.deployable(64)(normalise(pictures.images)), (16, 16))
    targets = pictures.targets.permute(0, 3, 1, 2).float()
    torch.testing.assert_close(targets, expected, rtol=2e-3, atol=2e-3)
    alone = CandidateEvaluator(memory, SMALL)(CANDIDATE).score
    assert CandidateEvaluator(taught, SMALL)(CANDIDATE).score != alone
    ignored = replace(SMALL, distillation_weight=0.0)
    assert CandidateEvaluator(taught, ignored)(CANDIDATE).score == alone


def test_a_teacher_of_another_resolution_is_refused(faces, prepare, tmp_path):
    save_teacher(tmp_path / "teacher.pt", faces, 128)
    with pytest.raises(DataError, match="was trained at 128 pixels, its pupil sees 64"):
        prepare(teacher=tmp_path / "teacher.pt")


def test_wrong_numbers(prepare):
    with pytest.raises(UsageError, match="has 24 training images; the search wants 20 and 6"):
        prepare(replace(SMALL, images=20))
    with pytest.raises(UsageError, match="1 --weights for 2 --encoder"):
        prepare(SMALL, [ENCODER, "ghostnet-0.25"], weights=["x.pt"])


def test_a_loss_that_is_not_finite_fails_the_candidate(memory, monkeypatch):
    nan = torch.tensor(float("nan"), requires_grad=True)
    monkeypatch.setattr(evaluation, "cross_entropy", lambda *_: nan)
    with pytest.raises(CandidateError, match="not finite") as raised:
        CandidateEvaluator(memory, SMALL)(CANDIDATE)
    assert raised.value.kind is Failure.NOT_FINITE


def test_outputs_that_are_not_finite_are_a_failure_and_no_score(memory, monkeypatch):
    def spoil(self, loss, optimisers, parameters, gradient_norm):
        for parameter in parameters:
            parameter.data.fill_(float("nan"))

    monkeypatch.setattr(MixedPrecision, "step", spoil)
    settings = replace(SMALL, images=8, decoder_epochs=1)
    with pytest.raises(CandidateError, match="not finite"):
        CandidateEvaluator(memory, settings)(CANDIDATE)


def test_out_of_memory_fails_the_candidate_and_a_bug_does_not(memory, monkeypatch):
    judge = CandidateEvaluator(memory, SMALL)

    def raises(error):
        def fail(*_):
            raise error

        monkeypatch.setattr(evaluation, "cross_entropy", fail)

    raises(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 EB"))
    with pytest.raises(CandidateError, match="out of memory: DefaultCPUAllocator") as raised:
        judge(CANDIDATE)
    assert raised.value.kind is Failure.OUT_OF_MEMORY
    raises(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        judge(CANDIDATE)
