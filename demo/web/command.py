"""``nastool demo`` with ``--web`` or ``--web-output``."""

import logging
from contextlib import suppress
from pathlib import Path

import click
from click.core import ParameterSource

from demo.web.server import SiteServer
from demo.web.site import Site
from export.system import console
from export.system.errors import UsageError

log = logging.getLogger(__name__)

TAKEN = {"model", "precision", "web", "web_output", "port", "config", "as_json", "debug"}


def run_web(model: Path | None, port: int | None, output: Path | None) -> console.Outcome:
    """Write the page, serve it until Ctrl-C, or both.

    Args:
        model: ONNX file; None: the one that ships.
        port: where to serve it; None: nowhere.
        output: the folder to write it to; None: none.

    Raises:
        UsageError: the port is taken, or a flag was given that the page has a control for.
        DataError, UnavailableError: as `Site.make` and `Site.write` say.
    """
    _refuse_others(click.get_current_context())
    site = Site.make(model)
    url = None
    if output:
        site.write(output)
        log.info("%s is the page, for any static host; its README.md says more", output)
    if port is not None:
        with SiteServer(site, port) as server, suppress(KeyboardInterrupt):
            url = server.url
            log.info("%s is the page, for this machine alone; Ctrl-C ends it", url)
            server.serve_forever()
    document = {"url": url, "output": str(output) if output else None}
    return console.Outcome(document, f"wrote {output}" if output else "nothing written")


def _refuse_others(context: click.Context) -> None:
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and name not in TAKEN:
            raise UsageError(
                f"{parameter.opts[0]} is not for the page, which has its own controls; leave it out"
            )
