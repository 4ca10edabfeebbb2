"""A Ray cluster of two nodes on this machine; only the evaluator stands in for a training."""

import os
import signal
import sys
import tempfile
from functools import partial
from pathlib import Path

import pytest
from cluster_evaluators import Holder, Scorer, SlowStart, broken, make_arrays
from stand_in import score

from export.system.errors import UnavailableError
from toolchain.architecture import Architecture
from toolchain.datasets import open_dataset
from toolchain.genotype import Genotype
from toolchain.search.evaluator import CandidateEvaluator
from toolchain.search.executors.ray import RayExecutor
from toolchain.search.feature_cache import SearchImages, fill_cache
from toolchain.search.shared_arrays import SharedArrays
from toolchain.search.study import Search
from toolchain.search.trial import Candidate, CandidateError, Failure, TrialState
from toolchain.settings.search_settings import EvaluationSettings, SearchSettings

ray = pytest.importorskip("ray", reason="needs the package ray")

GENOTYPE = Genotype.parse("2 [0,1,2,9] [0,1] [2,4]")
HERE = Path(__file__).parent
# Of memory for objects, nearly the least that Ray accepts.
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
# A lost machine is given up after 5 s instead of 15.
VIGILANT = {"health_check_period_ms": 1000, "health_check_failure_threshold": 5}


@pytest.fixture(scope="module")
def cluster():
    from ray.cluster_utils import Cluster

    # Not pytest's folder: the path of a socket must be short.
    with (
        tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("RAY_TMPDIR", folder)
        # Workers import the evaluator by its name, as from a package installed everywhere.
        patch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(HERE.parents[2])]))
        cluster = Cluster()
        try:
            cluster.add_node(**NODE, _system_config=VIGILANT)
            cluster.add_node(**NODE)
            patch.setenv("RAY_ADDRESS", cluster.address)
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


def submit(executor, *numbers):
    for number in numbers:
        executor.submit(Candidate(number, Architecture(GENOTYPE, "ghostnet-0.1")))


FAILURES = {
    "memory": (Failure.OUT_OF_MEMORY, "out of memory: no room"),
    "bug": (Failure.CRASH, "crash: ValueError: a bug"),
    "exit": (Failure.CRASH, "crash: its worker was lost: The actor is dead because its worker"),
    "slow": (Failure.TIMEOUT, "timeout: took more than 2 s"),
}


def test_a_failure_has_a_kind_and_the_next_candidate_a_worker(cluster, tmp_path):
    ways = {2 * place + 1: way for place, way in enumerate(FAILURES)}
    with RayExecutor(partial(Scorer, tmp_path, ways), timeout=2) as executor:
        for number, way in ways.items():
            kind, message = FAILURES[way]
            submit(executor, number)
            outcome = executor.next()
            assert isinstance(outcome.outcome, CandidateError)
            assert outcome.outcome.kind is kind
            assert str(outcome.outcome).startswith(message)
            submit(executor, number + 1)
            assert executor.next().outcome.score == score(GENOTYPE)


def search(path, executor, report):
    """Search for 30 candidates, some of whose workers are lost; return them and their nodes."""
    settings = SearchSettings(
        data="synthetic:10", trials=30, rescore=0, branches=2, cells=1, encoders=("ghostnet-0.1",)
    )
    trials = Search(settings, path, 19).run(executor, report)
    evaluated = {int(file.name): file.read_text().split() for file in path.glob("[0-9]*")}
    assert all(len(line) == 2 for line in evaluated.values()), "one was evaluated twice"
    trained = {trial.id for trial in trials if trial.state in ("complete", "failed")}
    assert evaluated.keys() == trained
    assert sorted(trial.id for trial in trials) == list(range(len(trials)))
    assert sum(trial.state.trained for trial in trials) == 30
    return trials, {node for _, node in evaluated.values()}


def check_only_the_victim_failed(path, trials):
    number, _ = (path / "victim").read_text().split()
    failed = [trial for trial in trials if trial.state is TrialState.FAILED]
    assert [(str(trial.id), trial.failure) for trial in failed] == [(number, "crash")]


def once_there_is_a_victim(path, harm):
    """Return a report of a search that does harm when a worker is in the middle of its end."""
    file, done = path / "victim", []

    def report(_):
        if not done and file.exists() and (text := file.read_text()).endswith("\n"):
            done.append(text)
            harm(int(text.split()[1]))

    return report


def test_a_worker_killed_in_the_middle_costs_one_candidate(cluster, tmp_path):
    def kill(pid):
        os.kill(pid, signal.SIGKILL)

    with RayExecutor(partial(Scorer, tmp_path, {}, victim=8), workers=2) as executor:
        trials, nodes = search(tmp_path, executor, once_there_is_a_victim(tmp_path, kill))
        assert executor.capacity == 2
    assert nodes == {node.node_id for node in cluster.list_all_nodes()}
    check_only_the_victim_failed(tmp_path, trials)


def test_a_lost_machine_costs_one_candidate(cluster, tmp_path):
    (machine,) = cluster.worker_nodes
    start = partial(Scorer, tmp_path, {}, victim=8, spared_node=cluster.head_node.node_id)
    try:
        with RayExecutor(start, workers=2) as executor:
            report = once_there_is_a_victim(
                tmp_path, lambda _: cluster.remove_node(machine, allow_graceful=False)
            )
            trials, _ = search(tmp_path, executor, report)
            assert executor.capacity == 1
        check_only_the_victim_failed(tmp_path, trials)
    finally:
        cluster.add_node(**NODE)


def test_the_time_of_a_candidate_begins_when_its_worker_has_started(cluster, tmp_path):
    start = partial(SlowStart, tmp_path)
    with RayExecutor(start, timeout=2) as executor:
        submit(executor, 1)
        assert executor.next().outcome.kind is Failure.CRASH
        submit(executor, 2)
        assert executor.next().outcome.score == score(GENOTYPE)


def test_a_worker_that_cannot_start_ends_the_search(cluster):
    with pytest.raises(UnavailableError, match="could not start: ImportError: no such thing"):
        RayExecutor(broken)


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"workers": 3}, "the Ray cluster has 2 CPU, the workers need 3; lower --workers, or add"),
        ({"gpus": 0.5}, "the Ray cluster has 0 GPU, the workers need 0.5"),
    ],
)
def test_too_few_resources(cluster, resources, message):
    with pytest.raises(UnavailableError, match=message):
        RayExecutor(broken, **resources)
    assert not ray.is_initialized()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:99999"])
def test_a_cluster_that_is_not_there_is_not_waited_for(monkeypatch, address):
    monkeypatch.setenv("RAY_ADDRESS", address)
    message = rf"the Ray cluster at {address} cannot be reached \(.*\); check RAY_ADDRESS"
    with pytest.raises(UnavailableError, match=message):
        RayExecutor(broken)
    assert not ray.is_initialized()


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UnavailableError, match=r"needs the package ray: pip install 'nastool\[ray"):
        RayExecutor(broken)


def test_workers_share_the_arrays_of_the_search(cluster):
    with RayExecutor(partial(Holder, make_arrays()), workers=2) as executor:
        submit(executor, 1, 2)
        assert [executor.next().outcome.score for _ in range(2)] == [1, 1]


def test_a_real_candidate_has_the_score_that_it_has_here(cluster, tmp_path):
    settings = EvaluationSettings(
        search_size=64, search_images=16, search_validation=8, batch_size=8
    )
    faces = open_dataset("synthetic:24")
    images = SearchImages(faces.subset(range(16)), faces.subset(range(16, 24)), 8)
    cache = fill_cache(SharedArrays(tmp_path), images, settings, ["ghostnet-0.1"], {})
    start = partial(CandidateEvaluator, cache, settings)
    with RayExecutor(start) as executor:
        submit(executor, 5)
        there = executor.next().outcome
    assert there.score == start()(Candidate(5, Architecture(GENOTYPE, "ghostnet-0.1"))).score
