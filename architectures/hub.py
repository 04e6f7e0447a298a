"""Fetching a converted network from a repository of the Hugging Face Hub.

A repository holds what a conversion wrote: `X.pth` or `X.safetensors`, and `X.json`. Both files are
taken from one commit, and only if their stated sizes are within bounds; what they hold is then
checked as that of any other file.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from schemas.artefact import MAX_BYTES

SCHEME = "hf://"
WEIGHTS = (".safetensors", ".pth")
MOST_BYTES = 8 << 30
"""The most bytes that weights may have."""

_ADDRESS = re.compile(
    r"(?P<repository>[A-Za-z0-9][\w.-]*/[\w.-]+)(?P<file>(?:/[\w.-]+)+)?(?:@(?P<revision>[\w./-]+))?"
)


class HubError(ValueError):
    """A repository is missing, or holds no converted network."""


def is_address(text: str) -> bool:
    """Return whether a text names a repository, and not a file that is missing here.

    It does with `hf://`, or if it is `USER/REPOSITORY[@REVISION]` and there is no folder `USER`.
    """
    if text.startswith(SCHEME):
        return True
    found = _ADDRESS.fullmatch(text)
    if found is None or found["file"] or found["repository"].endswith(WEIGHTS):
        return False
    return not Path(text).parent.exists()


def fetch(address: str) -> Path:
    """Download a network's two files, unless they are in the cache, and return the weights' path.

    Args:
        address: `USER/REPOSITORY`, or `hf://USER/REPOSITORY/FILE.safetensors` where a repository
            holds several networks. `@REVISION` after it names a branch, tag or commit.

    Raises:
        HubError: the library huggingface_hub is missing, the repository cannot be reached, or it
            has no such network.
    """
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError as error:
        raise HubError(
            f"{address} is no file here, and fetching it from the Hugging Face Hub needs the "
            "library huggingface_hub: pip install 'paddleocr-to-torch[hub]'"
        ) from error
    found = _ADDRESS.fullmatch(address.removeprefix(SCHEME))
    if found is None or ".." in address:
        raise HubError(f"{address} is not {SCHEME}USER/REPOSITORY[/FILE][@REVISION]")
    repository, file, revision = found["repository"], found["file"], found["revision"]
    api = HfApi()
    try:
        info = api.model_info(repository, revision=revision, files_metadata=True)
        sizes = {each.rfilename: each.size for each in info.siblings or ()}
        weights = _choose(sizes, file.removeprefix("/") if file else None, repository)
        described = str(PurePosixPath(weights).with_suffix(".json"))
        for name, most in ((described, MAX_BYTES), (weights, MOST_BYTES)):
            size = sizes[name]
            if size is None or size > most:
                raise HubError(f"{repository}: {name} has {size} bytes, expected at most {most}")
        paths = [
            api.hf_hub_download(repository, name, revision=info.sha)
            for name in (described, weights)
        ]
    except (HfHubHTTPError, OSError) as error:
        raise HubError(f"cannot fetch {address} from the Hugging Face Hub: {error}") from error
    return Path(paths[1])


def _choose(sizes: dict[str, int | None], file: str | None, repository: str) -> str:
    """Return the weights that are meant: the named file, or the only one with a JSON."""
    networks = [
        name
        for name in sorted(sizes)
        if name.endswith(WEIGHTS) and str(PurePosixPath(name).with_suffix(".json")) in sizes
    ]
    if file is not None:
        if file not in networks:
            raise HubError(
                f"{repository} has no network {file}; it has {', '.join(networks) or 'none'}"
            )
        return file
    if not networks:
        raise HubError(
            f"{repository} holds no converted network: no .safetensors or .pth with a .json of the "
            "same name"
        )
    if len(networks) > 1:
        raise HubError(
            f"{repository} holds {len(networks)} networks; name one: "
            + ", ".join(f"{SCHEME}{repository}/{name}" for name in networks)
        )
    return networks[0]
