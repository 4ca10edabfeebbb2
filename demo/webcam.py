"""``nastool demo``, and the same program as ``python demo/webcam.py``."""

import logging
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from demo.shipped import Model
from export.system import command_line, console
from export.system.numbers import THREADS

if TYPE_CHECKING:
    from demo.sources import Source

log = logging.getLogger(__name__)


@command_line.command(
    "demo",
    groups={
        "First of all": ("source", "model", "effect", "output", "web"),
        "Where frames go": ("no_display", "full_screen", "virtual_camera", "limit"),
        "The model": ("precision", "runtime", "device", "threads", "smooth", "fit", "mirror"),
        "How labels look": (
            *("background", "hair", "lips", "opacity", "outlines", "colours", "legend"),
            "fps_overlay",
        ),
        "In a browser": ("web_output", "port"),
    },
)
@click.option(
    "--model",
    default="balanced",
    show_default=True,
    type=Model(),
    metavar="fast|balanced|accurate|FILE",
    help="One that ships, or an ONNX file written by nastool export.",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "int8"]),
    default="fp32",
    show_default=True,
    help="Of a model that ships.",
)
@click.option(
    "--source",
    default="0",
    show_default=True,
    metavar="CAMERA|VIDEO|IMAGE|FOLDER",
    help="A camera's index (0), device (/dev/video0), backend and index (dshow:0, msmf:0, v4l2:0) "
    "or address (rtsp:, http:); a video or animation, an image, or a folder of images.",
)
@click.option(
    "--effect",
    type=click.Choice(["overlay", "blur", "background", "recolour", "labels", "side-by-side"]),
    default="overlay",
    show_default=True,
    help="Labels in colour; blurred background; other background; other hair and lips; label maps "
    "(PNG files whose palette indices are the labels); picture and overlay beside each other.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Write a video (.mp4 .webm .mov .mkv .avi), an image, or a folder of images.",
)
@click.option("--virtual-camera", is_flag=True, help="Be a camera for other programs.")
@click.option("--no-display", is_flag=True, help="Open no window.")
@click.option("--full-screen", is_flag=True, help="Cover the screen.")
@click.option("--mirror", is_flag=True, help="Show left at the left, as a mirror does.")
@click.option(
    "--smooth",
    type=click.FloatRange(0, 1),
    help="Steadiness of the labels over time. [default: 0.5; 0 for images]",
)
@click.option(
    "--fit",
    type=click.Choice(["face", "letterbox", "crop"]),
    default="face",
    show_default=True,
    help="Find and follow the face; or let the model see the whole frame; or its central square.",
)
@click.option(
    "--background",
    default="white",
    show_default=True,
    metavar="IMAGE|COLOUR",
    help="For --effect background.",
)
@click.option(
    "--hair", default="purple", show_default=True, metavar="COLOUR", help="For --effect recolour."
)
@click.option(
    "--lips", default="crimson", show_default=True, metavar="COLOUR", help="For --effect recolour."
)
@click.option(
    "--opacity",
    type=click.FloatRange(0, 1),
    default=0.45,
    show_default=True,
    help="Of the overlay.",
)
@click.option(
    "--outlines/--no-outlines", default=True, show_default=True, help="Outline the regions."
)
@click.option(
    "--colours",
    type=click.Choice(["model", "colour-blind"]),
    default="model",
    show_default=True,
    help="Of the classes: the model's own, or such as colour-blind people can tell apart.",
)
@click.option("--legend", is_flag=True, help="List the classes in the picture.")
@click.option("--fps-overlay", is_flag=True, help="Write rate and times on the picture.")
@click.option(
    "--frames",
    "limit",
    cls=command_line.Flag,
    formerly=["--limit"],
    type=click.IntRange(1),
    help="Stop after so many.",
)
@click.option("--runtime", default="onnxruntime", show_default=True, help="What runs the model.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option(
    "--threads",
    type=THREADS,
    help="CPU threads. [default: the physical cores that may be used]",
)
@click.option("--web", is_flag=True, help="Serve the demo as a page for browsers on this machine.")
@click.option(
    "--web-output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write that page as a folder for any static host.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    help="For --web; 0 takes a free one.",
)
def demo(
    model: str,
    precision: str,
    source: str,
    effect: str,
    output: Path | None,
    virtual_camera: bool,
    no_display: bool,
    full_screen: bool,
    mirror: bool,
    smooth: float | None,
    fit: str,
    background: str,
    hair: str,
    lips: str,
    opacity: float,
    outlines: bool,
    colours: str,
    legend: bool,
    fps_overlay: bool,
    limit: int | None,
    runtime: str,
    device: str,
    threads: int | None,
    web: bool,
    web_output: Path | None,
    port: int,
) -> console.Outcome:
    """Run a model on a camera, a video, an image or a folder of images.

    Draws the labels, or an effect made with them, on every frame, in a window and, with --output,
    in a file. The h key in the window lists the keys: effect, model, recording and more; q or Esc
    quits; an image stays until another key is pressed. Where no window can be opened the frames are
    written to a file in the current folder instead. With --no-display and without --output only the
    speed is measured. Ctrl-C ends the run and keeps the video so far.

    A camera that vanishes is waited for. Exit code 1: it stayed away, or a video ends before its
    time.

    Medians of the stages are of the work itself: the stages run beside each other.

    With --web the same runs in a browser, on the browser's own camera or files: nothing is sent
    anywhere, and other machines cannot reach the page.

    \b
      nastool demo
      nastool demo --source holiday.mp4 --effect blur --output blurred.mp4
      nastool demo --source portraits/ --model model.onnx --no-display --output parsed/ --legend
      nastool demo --web
      nastool demo --source portraits/ --effect labels --no-display --output labels/
    """
    from demo.parser import FaceParser
    from demo.shipped import model_file

    if web or web_output:
        from demo.web.command import run_web

        return run_web(model_file(model, precision), port if web else None, web_output)
    from demo.effects import make_effects
    from demo.meter import Meter
    from demo.pipeline import Pipeline
    from demo.player import Player
    from demo.settings import Settings
    from demo.sources import open_source
    from demo.window import Window, display_works

    frames = open_source(source)
    if smooth is None:
        smooth = 0.0 if frames.still else 0.5
    window = None
    if not no_display and display_works():
        window = Window("nastool demo", full_screen)
    elif not no_display and not virtual_camera:
        output = output or default_output(frames, effect)
        log.info("no display to open a window on: writing %s", output)
    settings = Settings(effect, model, precision, smooth, opacity, colours, mirror, fps_overlay)
    meter = Meter()
    pipeline = Pipeline(
        frames,
        settings,
        meter,
        lambda name, kind: FaceParser(model_file(name, kind), runtime, device, threads),
        partial(
            make_effects,
            outlines=outlines,
            legend=legend,
            background=background,
            hair=hair,
            lips=lips,
        ),
        fit=fit,
        every_view=frames.still and window is not None,
    )
    player = Player(pipeline, settings, meter)
    document = player.play(output=output, virtual_camera=virtual_camera, window=window, limit=limit)
    stages = [
        (stage, "-" if median is None else f"{median:.2f}")
        for stage, median in document["stages_ms"].items()
    ]
    lost = ", ".join(f"{document[key]} {key}" for key in ("dropped", "damaged") if document[key])
    summary = f"{document['frames']} frames, {document['fps']:.1f} per second"
    written = f"wrote {document['output']}" if document["output"] else "nothing written"
    return console.Outcome(
        document,
        console.lines(
            console.table(["stage", "median ms"], stages),
            f"{summary}; {lost}" if lost else summary,
            written,
        ),
        failure=frames.condition.failure if document["frames"] != limit else None,
    )


def default_output(source: "Source", effect: str) -> Path:
    """Return where frames go that cannot be shown."""
    suffix = ".mp4" if effect != "labels" else ""
    suffix = {"image": ".png", "folder": ""}.get(source.kind, suffix)
    # A dot in a folder's name would look like a suffix.
    return Path(f"{source.name.replace('.', '-')}-{effect}{suffix}")


if __name__ == "__main__":
    sys.exit(command_line.run(demo, name="webcam.py"))
