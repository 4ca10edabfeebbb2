"""``nastool demo``, and the same program as ``python demo/webcam.py``."""

import sys
from pathlib import Path

import click

from export import console


@console.command("demo")
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="ONNX file written by nastool export. [default: the one that ships]",
)
@click.option(
    "--source",
    default="0",
    show_default=True,
    metavar="INDEX|VIDEO|IMAGE|FOLDER",
    help="A webcam's index, a video, an image, or a folder of images.",
)
@click.option(
    "--effect",
    type=click.Choice(["overlay", "blur", "background", "recolour"]),
    default="overlay",
    show_default=True,
    help="Labels in colour; blurred background; other background; other hair and lips.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Write a video (.mp4 .mov .mkv .avi), an image, or a folder of images.",
)
@click.option("--no-display", is_flag=True, help="Open no window.")
@click.option(
    "--smooth",
    type=click.FloatRange(0, 1),
    help="Steadiness of the labels over time. [default: 0.5; 0 for images]",
)
@click.option(
    "--fit",
    type=click.Choice(["letterbox", "crop"]),
    default="letterbox",
    show_default=True,
    help="Let the model see the whole frame, or its central square in more detail.",
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
@click.option("--legend", is_flag=True, help="List the classes in the picture.")
@click.option("--fps-overlay", is_flag=True, help="Write the frame rate on the picture.")
@click.option("--limit", type=click.IntRange(1), metavar="FRAMES", help="Stop after so many.")
@click.option("--runtime", default="onnxruntime", show_default=True, help="What runs the model.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads. [default: all cores]")
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
    model: Path | None,
    source: str,
    effect: str,
    output: Path | None,
    no_display: bool,
    smooth: float | None,
    fit: str,
    background: str,
    hair: str,
    lips: str,
    opacity: float,
    outlines: bool,
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
    """Run a model on a webcam, a video, an image or a folder of images.

    Draws the labels, or an effect made with them, on every frame, in a window and, with --output,
    in a file. Keys in the window: q quits, e takes the next effect, s saves the frame in the
    current folder, space pauses; an image stays until another key is pressed. Where no window can
    be opened the frames are written to a file in the current folder instead. With --no-display and
    without --output only the speed is measured. Ctrl-C ends the run and keeps the video so far.

    Medians of the stages are of the work itself: reading and writing run beside the rest.

    With --web the same runs in a browser, on the browser's own camera or files: nothing is sent
    anywhere, and other machines cannot reach the page.

    \b
      nastool demo
      nastool demo --source holiday.mp4 --effect blur --output blurred.mp4
      nastool demo --source portraits/ --model model.onnx --no-display --output parsed/ --legend
      nastool demo --web
    """
    if web or web_output:
        from demo.web.command import run_web

        return run_web(model, port if web else None, web_output)
    from demo.effects import make_effects
    from demo.parser import FaceParser
    from demo.player import Player
    from demo.sources import open_source

    frames = open_source(source)
    if smooth is None:
        smooth = 0.0 if frames.kind in ("image", "folder") else 0.5
    with FaceParser(model, runtime, device, threads) as parser:
        effects = make_effects(
            parser.metadata.classes,
            parser.metadata.palette,
            opacity=opacity,
            outlines=outlines,
            legend=legend,
            background=background,
            hair=hair,
            lips=lips,
        )
        player = Player(parser, effects, effect, fit=fit, smooth=smooth, figures=fps_overlay)
        document = player.play(frames, output=output, display=not no_display, limit=limit)
    stages = [
        (stage, "-" if median is None else f"{median:.2f}")
        for stage, median in document["stages_ms"].items()
    ]
    summary = f"{document['frames']} frames, {document['fps']:.1f} per second"
    written = f"wrote {document['output']}" if document["output"] else "nothing written"
    return console.Outcome(
        document, console.lines(console.table(["stage", "median ms"], stages), summary, written)
    )


if __name__ == "__main__":
    sys.exit(console.run(demo, name="webcam.py"))
