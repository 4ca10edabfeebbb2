"""Label the parts of a face: python example.py [IMAGE] [--model FILE] [--output OUT.png].

Without IMAGE it takes sample.png and compares the labels with expected.pgm.
"""

import json
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime


def parse(session: Any, image: Any, size: int) -> tuple[Any, float]:
    """Return labels, uint8 [H, W], for an RGB image, uint8 [H, W, 3], and the milliseconds."""
    height, width = image.shape[:2]
    side = max(height, width)  # of a square that has the whole picture, and grey beside it
    down, right = (side - height) // 2, (side - width) // 2
    square = np.full((side, side, 3), 127, np.uint8)
    square[down:, right:][:height, :width] = image
    method = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    feeds = {"image": cv2.resize(square, (size, size), interpolation=method)[None]}
    alone = onnxruntime.RunOptions()
    alone.only_execute_path_to_fetches = True  # what only probabilities need is not computed
    session.run(["labels"], feeds, alone)  # the first run also prepares memory
    start = time.perf_counter()
    labels = session.run(["labels"], feeds, alone)[0][0]
    milliseconds = 1000 * (time.perf_counter() - start)
    whole = cv2.resize(labels, (side, side), interpolation=cv2.INTER_NEAREST)
    return whole[down:, right:][:height, :width], milliseconds


folder = Path(__file__).resolve().parent
bundle = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
parser = ArgumentParser(description="Label the parts of a face.")
parser.add_argument("image", nargs="?", help="any picture; sample.png if left out")
parser.add_argument("--model", type=Path, default=folder / bundle["reference"])
parser.add_argument("--output", help="write the labels in their colours to this file")
options = parser.parse_args()

session = onnxruntime.InferenceSession(options.model, providers=["CPUExecutionProvider"])
metadata = session.get_modelmeta().custom_metadata_map
picture = cv2.imread(options.image or str(folder / "sample.png"))
if picture is None:
    sys.exit(f"{options.image}: cannot be read as a picture")
image = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
labels, milliseconds = parse(session, image, int(metadata["input_size"]))

for label, name in enumerate(json.loads(metadata["classes"])):
    print(f"{name:12} {np.mean(labels == label):7.2%}")
print(f"{options.model.name}: {milliseconds:.1f} ms")
palette = np.array(json.loads(metadata["palette"]), np.uint8)[:, ::-1]  # OpenCV writes BGR
if options.output and not cv2.imwrite(options.output, palette[labels]):
    sys.exit(f"{options.output}: cannot be written")
if not options.image:
    agreement = np.mean(labels == cv2.imread(str(folder / "expected.pgm"), cv2.IMREAD_GRAYSCALE))
    floor = bundle["floors"].get(options.model.name, 0.999)
    print(f"{agreement:.4%} of the pixels agree with expected.pgm (floor {floor:.1%})")
    sys.exit(int(agreement < floor))
