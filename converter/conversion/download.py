"""Released files by their URLs, into a cache: resumed where they were cut off, checked by hash.

The releases publish no checksums. So the SHA-256 of a first download is noted in the cache's
`registry.txt`, and whatever is taken from the cache or downloaded again must have it. A file has
its name only when it is whole; pooch keeps the cache, what is here continues a transfer.
"""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from converter.catalog.cards import ModelCard
from converter.conversion.artefact import make_folder, write_text
from converter.errors import OutputError, SourceError, UsageError
from converter.sources import mapped_files as files

if TYPE_CHECKING:
    import requests

WHICH = ("infer", "train", "both")
REGISTRY = "registry.txt"
ATTEMPTS = 3  # per run; the next run goes on from there
TIMEOUT = (10, 60)  # seconds to connect, and without a byte
_BLOCK = 1 << 16  # bytes; of one that arrives in part nothing is kept


def wanted(card: ModelCard, which: str) -> list[str]:
    """Return the URLs to fetch for a model: of the wanted form, else of the one there is."""
    urls = {"train": card.train, "infer": card.infer}
    there = [url for url in urls.values() if url]
    return there if which == "both" else [urls[which] or url for url in there[:1]]


class Downloads:
    """A cache of released files.

    Args:
        folder: where the files are kept; None for the user's cache folder.

    Raises:
        UsageError: pooch is not installed.
        OutputError: the folder cannot be made or written to.
    """

    def __init__(self, folder: Path | None = None) -> None:
        try:
            import pooch
        except ImportError as error:
            raise UsageError(
                f"downloading needs the package pooch ({error}); pip install .[download]"
            ) from error
        pooch.get_logger().setLevel("WARNING")
        self.folder = folder or Path(pooch.os_cache("paddleocr-to-torch"))
        make_folder(self.folder, f"the cache {self.folder}")

    def fetch(self, name: str, url: str) -> Path:
        """Return the file that a URL leads to, from the cache or from the network.

        Raises:
            SourceError: it cannot be had, or it is not what was downloaded first.
            OutputError: it does not fit onto the disk.
        """
        import pooch

        if urlsplit(url).scheme not in ("http", "https"):
            raise SourceError(f"{url} is neither http nor https; nothing else is downloaded")
        file = f"{name}/{PurePosixPath(urlsplit(url).path).name}"
        known = self.known()
        cache = pooch.create(self.folder, "", registry={file: known.get(file)}, urls={file: url})
        try:
            path = Path(cache.fetch(file, downloader=_Resuming(self.folder / file)))
        except ValueError as error:  # pooch's, where the hash is another
            raise SourceError(
                f"{url} no longer gives what was downloaded first: the SHA-256 was {known[file]}. "
                f"If the release was replaced, remove its line from {self.folder / REGISTRY}."
            ) from error
        except OSError as error:
            raise OutputError(f"cannot write to {self.folder}: {error.strerror}") from error
        if file not in known:
            known[file] = files.sha256(files.map_file(path))
            lines = [f"{key} {digest}\n" for key, digest in sorted(known.items())]
            write_text(self.folder / REGISTRY, "".join(lines))
        return path

    def known(self) -> dict[str, str]:
        """Return the SHA-256 of every file that was downloaded before; pooch's format."""
        import pooch

        if not (self.folder / REGISTRY).is_file():
            return {}
        noted = pooch.create(self.folder, "")
        try:
            noted.load_registry(self.folder / REGISTRY)
        except (OSError, ValueError) as error:
            raise SourceError(
                f"{self.folder / REGISTRY} is damaged ({error}); remove it to trust what is there"
            ) from error
        return dict(noted.registry)


class _Resuming:
    """Downloads a file, or the rest of it, for pooch; what has arrived stays beside its place."""

    def __init__(self, target: Path) -> None:
        self.partial = target.with_name(f".{target.name}.partial")
        self.tag = target.with_name(f".{target.name}.tag")  # which version of the file it is of

    def __call__(self, url: str, output_file: Any, _pooch: Any) -> None:
        """Write the whole file to `output_file`."""
        import requests

        for attempt in range(1, ATTEMPTS + 1):
            try:
                self.transfer(url)
                break
            except requests.exceptions.SSLError as error:
                raise SourceError(f"{url}: no trusted connection ({_reason(error)})") from error
            except requests.exceptions.RequestException as error:
                if attempt == ATTEMPTS:
                    raise SourceError(
                        f"{url} cannot be downloaded ({_reason(error)}); run it again to go on "
                        f"from {self.arrived()} bytes"
                    ) from error
        self.partial.replace(output_file)
        self.tag.unlink(missing_ok=True)

    def transfer(self, url: str) -> None:
        """Let arrive what is missing."""
        import requests

        begin = self.arrived()
        headers = {"Accept-Encoding": "identity"}
        if begin:
            version = self.tag.read_text(encoding="latin-1")
            headers |= {"Range": f"bytes={begin}-", "If-Range": version}
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if begin and not _continues(response, begin):
                begin = 0
                if (
                    response.status_code != 200
                ):  # nothing after what is there: that is no part of it
                    self.partial.unlink()
                    raise requests.exceptions.ConnectionError("the file has changed")
            _check(response, url)
            length = response.headers.get("Content-Length")
            self.require_space(url, int(length or 0))
            self.note_version(response)
            with self.partial.open("ab" if begin else "wb") as out:
                for block in response.iter_content(_BLOCK):
                    out.write(block)
        size, whole = self.partial.stat().st_size, begin + int(length or 0)
        if length is not None and size != whole:
            raise requests.exceptions.ConnectionError(f"{size} of {whole} bytes have arrived")

    def arrived(self) -> int:
        """Return how many bytes are there that can be gone on from."""
        known = self.partial.is_file() and self.tag.is_file()
        return self.partial.stat().st_size if known else 0

    def note_version(self, response: requests.Response) -> None:
        """Keep what tells this version of the file from others; without it nothing is resumed."""
        etag = response.headers.get("ETag", "")
        version = "" if etag.startswith("W/") else etag
        version = version or response.headers.get("Last-Modified", "")
        self.tag.unlink(missing_ok=True)
        if version:
            self.tag.write_text(version, encoding="latin-1")

    def require_space(self, url: str, length: int) -> None:
        """Raise OutputError where the rest of the file does not fit onto the disk."""
        free = shutil.disk_usage(self.partial.parent).free
        if length > free:
            raise OutputError(
                f"{url} needs {length / 1e6:.0f} MB more, {self.partial.parent} has "
                f"{free / 1e6:.0f} MB left; make room, or give another --cache"
            )


def _continues(response: requests.Response, begin: int) -> bool:
    said = response.headers.get("Content-Range", "")
    return response.status_code == 206 and said.startswith(f"bytes {begin}-")


def _check(response: requests.Response, url: str) -> None:
    """Raise SourceError for an answer that is not the file."""
    if response.status_code not in (200, 206):
        raise SourceError(
            f"{url} is not to be had ({response.status_code} {response.reason}); if the release "
            "has moved, download it by hand and name it with --map"
        )
    if url.startswith("https:") and not response.url.startswith("https:"):
        raise SourceError(f"{url} leads to {response.url}, which is not secure")
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise SourceError(f"{url} gives a page in the place of the file; is there a proxy?")


def _reason(error: Exception) -> str:
    """Return the innermost words of an error of requests, which wraps others."""
    inner: Any = error
    while inner.args and isinstance(inner.args[-1], Exception):
        inner = inner.args[-1]
    return f"{type(error).__name__}: {getattr(inner, 'reason', None) or inner}"
