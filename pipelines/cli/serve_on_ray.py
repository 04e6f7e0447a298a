"""The service on the machines of a Ray cluster:

    serve run pipelines.cli.serve_on_ray:build models=/models

Arguments are the options of `python -m pipelines serve` without the dashes; Ray has the address.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.cli.serve import build_app, build_parser, limits_of

if TYPE_CHECKING:
    from fastapi import FastAPI
    from ray.serve import Application


def build(arguments: Mapping[str, str]) -> Application:
    """Return the application that Ray Serve runs.

    Args:
        arguments: options by their names.
    """
    from ray import serve

    options = options_of(arguments)

    def load() -> FastAPI:  # in each replica; Ray takes no other callable
        return build_app(options, limits_of(options))

    deployment = serve.deployment(
        serve.ingress(load)(_Service),
        name="ocr",
        max_ongoing_requests=2 * options.max_requests,  # so that the service itself says 429
        graceful_shutdown_timeout_s=options.timeout + options.upload_timeout,
        ray_actor_options={"num_cpus": 1, "num_gpus": int(options.device != "cpu")},
    )
    return deployment.bind()


def options_of(arguments: Mapping[str, str]) -> argparse.Namespace:
    """Return the options of the service; paths become absolute, since replicas run elsewhere."""
    words = [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
    options = build_parser().parse_args(words)
    for name, value in vars(options).items():
        if isinstance(value, Path):
            setattr(options, name, value.absolute())
    return options


class _Service:
    """A replica; the application has all of it."""
