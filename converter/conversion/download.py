"""Download released files into a cache; transfers are resumed and files are checked.

The releases publish no checksums. So a first download must come from the host of its URL and must
open as a model; then its SHA-256 is recorded in the cache's `registry.txt`, and the file must have
this hash whenever it is taken from the cache or downloaded again. A file gets its name only when it
is complete; pooch manages the cache, this module transfers the bytes.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from converter.catalog.cards import ModelCard
from converter.conversion.artefact import make_folder, write_text
from converter.errors import OutputError, SourceError, UsageError
from converter.sources import archive, mapped_files
from converter.sources.open import ARCHIVES
from converter.sources.pdparams import read_pdparams

if TYPE_CHECKING:
    import requests

FORMS = ("infer", "train", "both")
REGISTRY = "registry.txt"
ATTEMPTS = 4  # per run; the next run continues the transfer
BACK_OFF = 1.0  # seconds before the second attempt, doubled for each further one
LONGEST_WAIT = 60.0  # seconds that a server may ask to wait before the next attempt
TIMEOUT = (10, 60)  # seconds to connect, and without a byte
TRANSFER_LIMIT = 2 * 3600.0  # seconds for a whole file, in all attempts of a run
LARGEST_FILE = 4 << 30  # bytes; the largest release has 1.5 GB
_MOST_REDIRECTS = 5
_TRANSIENT = (429, 500, 502, 503, 504)  # status codes that a later attempt may not get
_BLOCK = 1 << 16  # bytes to receive at once, at most


def release_urls(card: ModelCard, form: str) -> list[str]:
    """Return the URLs to download for a model.

    Args:
        card: the model.
        form: one of FORMS; if only the other form was released, that one is taken.
    """
    by_form = {"train": card.train, "infer": card.infer}
    released = [url for url in by_form.values() if url]
    return released if form == "both" else [by_form[form] or url for url in released[:1]]


class Downloads:
    """A cache of released files.

    Args:
        folder: where the files are kept; None for the user's cache folder.

    Raises:
        UsageError: pooch is not installed.
        OutputError: the folder cannot be created or written to.
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
        """Return the file at a URL, from the cache or from the network.

        Args:
            name: the model's name, which is the file's folder in the cache.
            url: where the release is.

        Raises:
            SourceError: the file cannot be downloaded, is no model, or is not the file that was
                downloaded first.
            OutputError: the file does not fit onto the disk.
        """
        import pooch

        _require_http(url)
        file = f"{name}/{PurePosixPath(urlsplit(url).path).name}"
        hashes = self.recorded_hashes()
        cache = pooch.create(self.folder, "", registry={file: hashes.get(file)}, urls={file: url})
        try:
            path = Path(cache.fetch(file, downloader=_Transfer(self.folder / file)))
        except ValueError as error:  # pooch raises it if the hash differs
            raise SourceError(
                f"{url} no longer gives what was downloaded first: the SHA-256 was {hashes[file]}. "
                f"If the release was replaced, remove its line from {self.folder / REGISTRY}."
            ) from error
        except OSError as error:
            raise OutputError(f"cannot write to {self.folder}: {error.strerror}") from error
        if file not in hashes:
            _require_model(path, url)
            hashes[file] = mapped_files.sha256(mapped_files.map_file(path))
            lines = [f"{key} {digest}\n" for key, digest in sorted(hashes.items())]
            write_text(self.folder / REGISTRY, "".join(lines))
        return path

    def recorded_hashes(self) -> dict[str, str]:
        """Read the registry: the SHA-256 of every file that was downloaded before."""
        import pooch

        if not (self.folder / REGISTRY).is_file():
            return {}
        registry = pooch.create(self.folder, "")
        try:
            registry.load_registry(self.folder / REGISTRY)
        except (OSError, ValueError) as error:
            raise SourceError(
                f"{self.folder / REGISTRY} is damaged ({error}); remove it to trust the files in "
                "the cache"
            ) from error
        return dict(registry.registry)


class _Transfer:
    """A downloader for pooch that resumes: the bytes received so far stay in the cache folder."""

    def __init__(self, target: Path) -> None:
        self.partial = target.with_name(f".{target.name}.partial")
        self.version = target.with_name(f".{target.name}.tag")  # the version that `partial` is of
        self.wait = 0.0  # seconds that the server asked to wait before the next attempt

    def __call__(self, url: str, output_file: Any, _pooch: Any) -> None:
        """Download the whole file to `output_file`."""
        import requests

        deadline = time.monotonic() + TRANSFER_LIMIT
        for attempt in range(ATTEMPTS):
            try:
                self.receive(url, deadline)
                break
            except requests.exceptions.SSLError as error:
                raise SourceError(f"{url}: no trusted connection ({_reason(error)})") from error
            except requests.exceptions.RequestException as error:
                if attempt + 1 == ATTEMPTS:
                    raise SourceError(
                        f"{url} cannot be downloaded ({_reason(error)}); run it again to continue "
                        f"after {self.received()} bytes"
                    ) from error
                time.sleep(max(BACK_OFF * 2**attempt, self.wait))
        self.partial.replace(output_file)
        self.version.unlink(missing_ok=True)

    def receive(self, url: str, deadline: float) -> None:
        """Receive the bytes that are missing.

        Args:
            url: where the release is.
            deadline: when the transfer must have ended, in seconds of `time.monotonic`.

        Raises:
            RequestException: the transfer failed, and may succeed if it is tried again.
            SourceError: the server does not give the file.
            OutputError: the file does not fit onto the disk.
        """
        import requests

        begin = self.received()
        headers = {"Accept-Encoding": "identity"}
        if begin:
            headers |= {"Range": f"bytes={begin}-", "If-Range": self.version.read_text("latin-1")}
        with _get(url, headers) as response:
            self.wait = _retry_after(response)
            if response.status_code in _TRANSIENT:
                raise requests.exceptions.HTTPError(f"{response.status_code} {response.reason}")
            if begin and not _continues(response, begin):
                begin = 0
                if response.status_code != 200:  # no bytes after those received: another file
                    self.drop()
                    raise requests.exceptions.ConnectionError("the file has changed")
            _require_file(response, url, 206 if begin else 200)
            length = _content_length(response, url)
            self.require_space(url, begin + (length or 0), length or 0)
            self.record_version(response)
            size = begin
            with self.partial.open("ab" if begin else "wb") as out:
                for block in _blocks(response):
                    size += len(block)
                    if size > LARGEST_FILE:
                        break
                    out.write(block)
                    if time.monotonic() > deadline:
                        raise SourceError(
                            f"{url} was not downloaded within {TRANSFER_LIMIT / 60:.0f} minutes; "
                            f"run it again to continue after {size} bytes"
                        )
        if size > LARGEST_FILE:
            self.drop()
            raise _too_large(url)
        if length is not None and size != begin + length:
            raise requests.exceptions.ConnectionError(f"{size} of {begin + length} bytes received")

    def received(self) -> int:
        """Return the number of bytes of an earlier transfer that can be continued."""
        known = self.partial.is_file() and self.version.is_file()
        return self.partial.stat().st_size if known else 0

    def record_version(self, response: requests.Response) -> None:
        """Record the server's version of the file; without one the transfer is not resumed."""
        etag = response.headers.get("ETag", "")
        version = "" if etag.startswith("W/") else etag
        version = version or response.headers.get("Last-Modified", "")
        self.version.unlink(missing_ok=True)
        if version:
            self.version.write_text(version, encoding="latin-1")

    def require_space(self, url: str, size: int, missing: int) -> None:
        """Check the size of the file before it is received.

        Args:
            url: where the release is, for messages.
            size: bytes of the whole file; 0 if the server does not state it.
            missing: bytes that are still to be received.

        Raises:
            SourceError: the file is larger than any release.
            OutputError: it does not fit onto the disk.
        """
        free = shutil.disk_usage(self.partial.parent).free
        if missing > free:
            raise OutputError(
                f"{url} needs {missing / 1e6:.0f} MB more, {self.partial.parent} has "
                f"{free / 1e6:.0f} MB left; make room, or name another --cache"
            )
        if size > LARGEST_FILE:
            raise _too_large(url)

    def drop(self) -> None:
        """Remove what was received."""
        self.partial.unlink(missing_ok=True)
        self.version.unlink(missing_ok=True)


def _get(url: str, headers: dict[str, str]) -> requests.Response:
    """Request a file; redirects are followed within the host of the URL only.

    Raises:
        RequestException: there is no answer.
        SourceError: a redirect to another host or to a connection that is not secure.
    """
    import requests

    address = url
    for _ in range(_MOST_REDIRECTS + 1):
        response = requests.get(
            address, headers=headers, stream=True, timeout=TIMEOUT, allow_redirects=False
        )
        if not response.is_redirect:
            break
        response.close()
        address = urljoin(address, response.headers["Location"])
        _require_http(address)
        if url.startswith("https:") and not address.startswith("https:"):
            raise SourceError(f"{url} redirects to {address}, which is not secure")
        if urlsplit(address).hostname != urlsplit(url).hostname:
            raise SourceError(
                f"{url} redirects to another host, {address}, which is not followed; if you trust "
                "it, download the file by hand and name it with --map"
            )
    else:
        raise SourceError(f"{url} redirects more than {_MOST_REDIRECTS} times")
    return response


def _blocks(response: requests.Response) -> Iterator[bytes]:
    """Yield the bytes of a response as they arrive; a slow server cannot delay a block."""
    import requests
    import urllib3

    try:
        while block := response.raw.read1(_BLOCK):
            yield block
    except urllib3.exceptions.HTTPError as error:
        raise requests.exceptions.ConnectionError(error) from error


def _retry_after(response: requests.Response) -> float:
    """Return the seconds that a server asks to wait before the next attempt."""
    wait = response.headers.get("Retry-After", "")
    return min(float(wait), LONGEST_WAIT) if wait.isascii() and wait.isdecimal() else 0.0


def _continues(response: requests.Response, begin: int) -> bool:
    """Return whether a response holds the bytes from `begin` on."""
    content_range = response.headers.get("Content-Range", "")
    return response.status_code == 206 and content_range.startswith(f"bytes {begin}-")


def _content_length(response: requests.Response, url: str) -> int | None:
    """Return the number of bytes that a response announces, or None."""
    length = response.headers.get("Content-Length")
    if length is not None and not (length.isascii() and length.isdecimal()):
        raise SourceError(f"{url} is sent with the Content-Length {length!r}, which is no size")
    return None if length is None else int(length)


def _require_http(url: str) -> None:
    if urlsplit(url).scheme not in ("http", "https"):
        raise SourceError(f"{url} is neither http nor https; nothing else is downloaded")


def _require_file(response: requests.Response, url: str, status: int) -> None:
    """Raise SourceError for a response that is not the file, or has another status code."""
    if response.status_code != status:
        raise SourceError(
            f"{url} is not available ({response.status_code} {response.reason}); if the release "
            "has moved, download it by hand and name it with --map"
        )
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise SourceError(f"{url} gives an HTML page instead of the file; is there a proxy?")
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding != "identity":  # a small response could decompress to any size
        raise SourceError(f"{url} is sent with the Content-Encoding {encoding}, not as it is")


def _require_model(path: Path, url: str) -> None:
    """Open a downloaded archive or checkpoint; if that fails, remove it.

    Raises:
        SourceError: the file is truncated, corrupt, unsafe or holds no model.
    """
    try:
        if path.name.endswith(ARCHIVES):
            with archive.unpack(path) as folder:
                if not any(Path(folder).iterdir()):
                    raise SourceError(f"{path} holds no file of a Paddle model.")
        elif path.suffix == ".pdparams":
            read_pdparams(path)
    except SourceError as error:
        path.unlink()
        raise type(error)(f"{url} gives no model, so the download was removed: {error}") from error


def _too_large(url: str) -> SourceError:
    return SourceError(
        f"{url} is larger than {LARGEST_FILE >> 20} MiB, which no release is; it was not downloaded"
    )


def _reason(error: Exception) -> str:
    """Return the message of the innermost error, since those of requests wrap others."""
    inner: Any = error
    while inner.args and isinstance(inner.args[-1], Exception):
        inner = inner.args[-1]
    return f"{type(error).__name__}: {getattr(inner, 'reason', None) or inner}"
