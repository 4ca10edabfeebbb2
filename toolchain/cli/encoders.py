"""``nastool encoders``: list the encoders."""

import click

from export.system.command_line import command
from export.system.console import Outcome, table
from export.system.numbers import Side


@command("encoders")
@click.option(
    "--input-size",
    type=Side(),
    default=512,
    show_default=True,
    help="Pixels, for FLOPs.",
)
def encoders(input_size: int) -> Outcome:
    """List the encoders: parameters, FLOPs, and the channels of the taps at strides 4 to 32.

    The names are what --encoder takes. Where weights for ImageNet are published that fit one, it is
    said: save their state dictionary with torch.save, and give the file to --weights. Narrower
    MobileNetV2 start from the weights of wider ones. For the others nastool pretrain makes some.
    Nothing is written.

    \b
      nastool encoders
      nastool encoders --input-size 256 --json
    """
    from toolchain.networks.encoder_weights import PUBLISHED
    from toolchain.networks.encoders import describe_encoder, encoder_names

    documents, rows = [], []
    for name in encoder_names():
        encoder = describe_encoder(name)
        flops = sum(encoder.stage_flops(input_size, input_size))
        documents.append(
            {
                "name": name,
                "parameters": encoder.parameters,
                "flops": flops,
                "taps": list(encoder.taps),
                "published": PUBLISHED.get(name),
            }
        )
        taps = ", ".join(map(str, encoder.taps))
        published = PUBLISHED.get(name, "")
        parameters, computed = f"{encoder.parameters / 1e6:.3f} M", f"{flops / 1e9:.3f} G"
        rows.append([name, parameters, computed, taps, published])
    return Outcome(documents, table(["encoder", "parameters", "flops", "taps", "published"], rows))
