"""Everything that only a GPU can show, in minutes and without network: `make gpu`.

GPU time is scarce. The steps come in order of worth, each is bounded in time, and what it found is
written at once into ``report.md`` and ``report.json``, so that nothing is lost when time runs out.
On a CPU (`make gpu DEVICE=cpu`) the same steps run small, so that no GPU's time goes into typing
errors.

Nothing but the project and what it depends on is needed. What is missing on a bare machine can be
brought as wheels (``--wheels FOLDER``).
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
GENOTYPE = "[[2, [0, 0, 2, 0], [3, 3, 10, 7]], [[1, 2], [1, 1], [0, 2]]]"
ENGINES = ("tensorrt", "tensorrt-rtx")
LEAST_SECONDS = 5


@dataclass(frozen=True)
class Step:
    """A command, how long it may take, and what is worth telling of what it prints.

    Attributes:
        name: in the report.
        arguments: of nastool; ``--json`` is added.
        seconds: limit.
        needs: runtime that must work on the device; None: none but the device.
        tell: makes figures of the command's document.
    """

    name: str
    arguments: Sequence[str]
    seconds: float
    needs: str | None = None
    tell: Callable[[Any], dict[str, Any]] = lambda document: {}


@dataclass
class Result:
    """What came of a step."""

    name: str
    outcome: str
    seconds: float
    figures: dict[str, Any]
    command: str
    problem: str = ""


def steps(device: str, data: str, output: Path) -> list[Step]:
    """List the steps; on a CPU they are small."""
    gpu = device != "cpu"
    side, working, batch = ("512", "256", "32") if gpu else ("128", "64", "8")
    model, search = output / "model", output / "search"
    on = ("--device", device)
    sizes = ("--input-size", side, "--working-size", working)
    count, seconds_each, drift = ("20", "0.03", "0.1") if gpu else ("10", "0.01", "1000")

    def table(runtime: str, precision: str, seconds: float) -> Step:
        path = output / f"{runtime}-{precision}.json"
        return Step(
            f"table {runtime} {precision}",
            [
                *("profile-device", "--runtime", runtime, *on, "--precision", precision, *sizes),
                *("--encoder", "mobilenetv2" if gpu else "ghostnet-0.1", "--output", str(path)),
                *("--fit-networks", count, "--certify-networks", count),
                *("--seconds", seconds_each, "--max-drift", drift),
            ],
            seconds,
            runtime,
            lambda d: {
                **{name: d[name] for name in ("entries", "seconds")},
                **{
                    name: d["certificate"][name]
                    for name in ("mape", "within_10_percent", "spearman")
                },
            },
        )

    def files(runtime: str, precisions: Sequence[str], seconds: float) -> Step:
        return Step(
            f"export {runtime}",
            [
                *("export", str(model / "best.pt"), "--runtime", runtime, *on),
                *("--images", "20" if gpu else "4"),
                *(flag for name in precisions for flag in ("--precision", name)),
                *("--calibration", data, "--output", str(output / f"export-{runtime}")),
            ],
            seconds,
            runtime,
            _agreements,
        )

    def times(runtime: str, seconds: float) -> Step:
        names = ("model.onnx", "model-fp16.onnx") if gpu else ("model.onnx",)
        paths = [str(output / f"export-{runtime}" / name) for name in names]
        return Step(
            f"benchmark {runtime}",
            [
                *("benchmark", *paths, "--runtime", runtime, *on),
                *("--seconds", "2" if gpu else "0.3", "--peer", str(output / "peer.onnx")),
            ],
            seconds,
            runtime,
            _medians,
        )

    half = ["--half"] if gpu else []
    return [
        Step(
            "self-test",
            ["doctor", "--selftest", "--output", str(output / "selftest.json")],
            90,
            tell=lambda d: {**d["summary"], "broken": len(d["broken"])},
        ),
        Step(
            "training",
            [
                *("train", "--data", data, "--genotype", GENOTYPE, *sizes, *on, *half),
                *("--batch-size", batch, "--epochs", "2", "--output", str(model)),
                *(() if gpu else ("--limit-images", "24")),
            ],
            120,
            tell=lambda d: {**_speed(model), "mean_f1": d["metrics"]["mean_f1"]},
        ),
        Step(
            "search",
            [
                *("search", "--data", data, "--run", str(search), *on, "--input-size", side),
                *("--weights", str(model / "best.pt"), "--rescore", "0"),
                *(
                    (
                        "--workers",
                        "4",
                        "--search-size",
                        "192",
                        "--trials",
                        "1000",
                        "--hours",
                        "0.02",
                    )
                    if gpu
                    else ("--search-size", "64", "--search-images", "16", "--trials", "2")
                ),
                *(() if gpu else ("--search-validation", "8")),
            ],
            150,
            tell=lambda d: {
                "candidates an hour": round(d["trials"]["complete"] * 3600 / d["seconds"]),
                **d["trials"],
            },
        ),
        files("onnxruntime", ("fp32", "fp16", "int8") if gpu else ("fp32",), 90),
        times("onnxruntime", 40),
        table("onnxruntime", "fp32", 120),
        table("onnxruntime", "fp16", 120),
        *(
            step
            for name in (ENGINES if gpu else ())
            for step in (
                files(name, ("fp32", "fp16", "int8"), 120),
                times(name, 60),
                table(name, "fp16", 240),
            )
        ),
    ]


def _speed(folder: Path) -> dict[str, Any]:
    last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    return {"images_per_second": last["images_per_second"], "waiting": last["waiting"]}


def _agreements(document: Any) -> dict[str, Any]:
    return {
        f"{file['format']} {file['precision']} on {parity['device']}": parity["argmax_agreement"]
        for file in document["files"]
        for parity in file["parities"]
    }


def _medians(document: Any) -> dict[str, Any]:
    return {Path(m["path"]).name: m["latency_ms"]["median"] for m in document["models"]}


def run_step(step: Step, seconds: float, output: Path, program: Sequence[str]) -> Result:
    """Run a step for so many seconds at most; keep what it printed."""
    command = [*program, *step.arguments, "--json"]
    started = time.monotonic()
    log = output / f"{step.name.replace(' ', '-')}.log"
    figures: dict[str, Any] = {}
    try:
        with log.open("w") as errors:
            done = subprocess.run(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, timeout=seconds, cwd=ROOT
            )
        outcome = "passed" if done.returncode == 0 else f"exit code {done.returncode}"
        log.with_suffix(".json").write_text(done.stdout)
        if done.stdout:
            figures = step.tell(json.loads(done.stdout))
    except subprocess.TimeoutExpired:
        outcome = f"stopped after {seconds:.0f} s"
    except Exception as error:  # a step's fault must not end the others
        outcome = f"{type(error).__name__}: {error}"
    lines = log.read_text().strip().splitlines()
    problem = "" if outcome == "passed" else (lines or [""])[-1][:300]
    taken = round(time.monotonic() - started, 1)
    return Result(step.name, outcome, taken, figures, " ".join(command), problem)


def write_report(output: Path, results: Sequence[Result], machine: dict[str, Any]) -> None:
    """Write both forms of the report, whole."""
    lines = ["# What this machine shows", "", f"`{json.dumps(machine)}`", ""]
    lines += ["| step | outcome | seconds | figures |", "|---|---|---|---|"]
    for r in results:
        told = ", ".join(f"{name} {value}" for name, value in r.figures.items())
        lines.append(f"| {r.name} | {r.outcome} {r.problem} | {r.seconds} | {told} |")
    for name, text in (
        ("report.md", "\n".join(lines) + "\n"),
        (
            "report.json",
            json.dumps({"machine": machine, "steps": [asdict(r) for r in results]}, indent=2),
        ),
    ):
        temporary = output / f"{name}.partial"
        temporary.write_text(text)
        temporary.replace(output / name)


def run_all(
    todo: Sequence[Step], output: Path, seconds: float, works: set[str] | None, **told: Any
) -> list[Result]:
    """Run the steps in turn until the time is over.

    Args:
        todo: the steps.
        output: folder of the reports.
        seconds: for all of them.
        works: runtimes that work on the device; None: all do.
        told: what the report says of the machine.
    """
    program = (sys.executable, "-m", "toolchain.cli")
    end, results = time.monotonic() + seconds, []
    for step in todo:
        left = end - time.monotonic()
        if works is not None and step.needs and step.needs not in works:
            result = Result(step.name, f"not run: {step.needs} does not work here", 0, {}, "")
        elif left < LEAST_SECONDS:
            result = Result(step.name, "not run: no time left", 0, {}, "")
        else:
            result = run_step(step, min(step.seconds, left), output, program)
        results.append(result)
        write_report(output, results, told)
        print(f"{result.name}: {result.outcome} in {result.seconds} s {result.figures}", flush=True)
    return results


def main() -> int:
    """Run everything; 1 if a step that could run did not pass."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--data", help="folder; synthetic faces if left out")
    parser.add_argument("--output", type=Path, default=Path("gpu-report"))
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--wheels", type=Path, help="folder of what is missing, to be installed")
    parser.add_argument("--step", action="append", help="run this one alone; several may be given")
    chosen = parser.parse_args()
    output = chosen.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    if chosen.wheels:
        wheels = sorted(map(str, chosen.wheels.glob("*.whl")))
        pip = (sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "-q", *wheels)
        subprocess.run(pip, check=True)
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))
    looked = subprocess.run(
        (sys.executable, "-m", "toolchain.cli", "doctor", "--json"),
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    found = json.loads(looked.stdout)
    works = {e["runtime"] for e in found["runtimes"] if e["works"] and e["device"] == chosen.device}
    data = chosen.data or ("synthetic:1200" if chosen.device != "cpu" else "synthetic:200")
    left = chosen.minutes * 60 - (time.monotonic() - started)
    todo = steps(chosen.device, data, output)
    if chosen.step:
        if unknown := set(chosen.step) - {step.name for step in todo}:
            parser.error(f"no step is called {min(unknown)}; {', '.join(s.name for s in todo)} are")
        todo = [step for step in todo if step.name in chosen.step]
    results = run_all(
        todo, output, left, works,
        cpu=found["cpu"], gpus=found["gpus"], packages=found["packages"], device=chosen.device,
    )  # fmt: skip
    print(f"{output / 'report.md'}: {time.monotonic() - started:.0f} s in all")
    return int(
        any(r.outcome not in ("passed",) and not r.outcome.startswith("not run") for r in results)
    )


if __name__ == "__main__":
    sys.exit(main())
