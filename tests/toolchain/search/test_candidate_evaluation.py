import pytest
import torch

from export.errors import UsageError
from toolchain.datasets import open_dataset
from toolchain.genotype import Genotype
from toolchain.search.evaluation import CandidateError, CandidateEvaluator
from toolchain.search.memory import EvaluationSettings, SearchMemory
from toolchain.training.checkpoints import CheckpointInfo, save_checkpoint

ENCODER = "ghostnet-0.1"
GENOTYPE = Genotype.parse("2 [0,1,2,9] [0,1] [2,4]")
SMALL = EvaluationSettings(size=64, images=16, validation_images=6, batch_size=8)


@pytest.fixture(scope="module")
def faces():
    return open_dataset("synthetic:24")


@pytest.fixture(scope="module")
def memory(faces):
    return SearchMemory(faces, SMALL, [ENCODER])


def test_images_to_train_and_to_score_on_are_disjoint_and_seeded(faces):
    memories = [SearchMemory(faces, SMALL, [ENCODER], seed=seed) for seed in (0, 0, 1)]
    train, validation = memories[0].train.images, memories[0].validation.images
    assert len(train) == 16
    assert len(validation) == 6
    assert not any(torch.equal(a, b) for a in train for b in validation)
    assert torch.equal(train, memories[1].train.images)
    assert not torch.equal(train, memories[2].train.images)


@torch.no_grad()
def test_features_are_what_the_encoder_gives(memory):
    from export.onnx import normalise

    expected = memory.encoders[ENCODER](normalise(memory.train.images))
    for feature, tap in zip(memory.features[ENCODER], expected, strict=True):
        torch.testing.assert_close(feature.float(), tap, rtol=2e-3, atol=2e-3)
    assert memory.nbytes > memory.train.images.nbytes


def test_a_candidate_is_judged_the_same_way_twice_whatever_came_before(memory):
    judge = CandidateEvaluator(memory, SMALL)
    before = [p.clone() for p in memory.encoders[ENCODER].parameters()]
    first = judge(GENOTYPE, ENCODER, 3)
    judge(Genotype.parse("1 [0,3]"), ENCODER, 4)
    state = torch.random.get_rng_state()
    again = judge(GENOTYPE, ENCODER, 3)
    assert first.score == again.score
    assert 0 <= first.score <= 1
    assert set(first.split) == {"stage0", "stage1", "validation"}
    assert torch.equal(state, torch.random.get_rng_state())
    # Joint training changed a copy: the next candidate starts from the same encoder.
    after = memory.encoders[ENCODER].parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_more_training_gives_a_better_score(memory):
    little = CandidateEvaluator(memory, SMALL)(GENOTYPE, ENCODER)
    settings = EvaluationSettings(64, 16, 6, decoder_epochs=25, joint_epochs=25, batch_size=8)
    much = CandidateEvaluator(memory, settings)(GENOTYPE, ENCODER)
    assert much.score > little.score + 0.05


def test_parts_choose_what_is_scored(memory):
    settings = EvaluationSettings(64, 16, 6, parts=("necklace",))
    with pytest.raises(UsageError, match="no part is named 'necklace'; the data has background"):
        CandidateEvaluator(memory, settings)
    hair = EvaluationSettings(64, 16, 6, 10, 10, 8, parts=("hair",))
    every = EvaluationSettings(64, 16, 6, 10, 10, 8)
    scores = [CandidateEvaluator(memory, s)(GENOTYPE, ENCODER).score for s in (hair, every)]
    assert scores[0] != scores[1]


def test_a_teacher_is_imitated_at_the_resolution_of_the_labels(faces, memory, tmp_path):
    info = CheckpointInfo(
        genotype=str(GENOTYPE),
        encoder=ENCODER,
        aggregation=48,
        label_set=faces.label_set,
        input_size=64,
        licence="none",
    )
    save_checkpoint(tmp_path / "teacher.pt", info, info.build().state_dict())
    taught = SearchMemory(faces, SMALL, [ENCODER], teacher=tmp_path / "teacher.pt")
    assert taught.targets is not None
    assert taught.targets.shape == (16, 19, 16, 16)
    alone = CandidateEvaluator(memory, SMALL)(GENOTYPE, ENCODER)
    assert CandidateEvaluator(taught, SMALL)(GENOTYPE, ENCODER).score != alone.score


def test_wrong_numbers(faces):
    with pytest.raises(UsageError, match="has 24 training images; the search wants 20 and 6"):
        SearchMemory(faces, EvaluationSettings(64, 20, 6), [ENCODER])
    with pytest.raises(UsageError, match="1 --weights for 2 --encoder"):
        SearchMemory(faces, SMALL, [ENCODER, "ghostnet-0.25"], ["x.pt"])


def test_too_little_memory_is_said_before_it_is_used(faces, monkeypatch):
    import psutil

    class Little:
        available = 10_000

    monkeypatch.setattr(psutil, "virtual_memory", Little)
    with pytest.raises(UsageError, match="GiB are free; lower --search-images or --search-size"):
        SearchMemory(faces, SMALL, [ENCODER])


def test_a_loss_that_is_not_finite_fails_the_candidate(memory, monkeypatch):
    judge = CandidateEvaluator(memory, SMALL)
    monkeypatch.setattr(judge, "_loss", lambda *_: torch.tensor(float("nan"), requires_grad=True))
    with pytest.raises(CandidateError, match="not finite"):
        judge(GENOTYPE, ENCODER)


def test_out_of_memory_fails_the_candidate_and_a_bug_does_not(memory, monkeypatch):
    judge = CandidateEvaluator(memory, SMALL)

    def raises(error):
        def fail(*_):
            raise error

        monkeypatch.setattr(judge, "_judge", fail)

    raises(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 EB"))
    with pytest.raises(CandidateError, match="out of memory: DefaultCPUAllocator"):
        judge(GENOTYPE, ENCODER)
    raises(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        judge(GENOTYPE, ENCODER)
