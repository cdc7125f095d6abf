"""A folder that is shared, to and from the Hugging Face Hub."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.records.contents import SUMMARY
from lokr_weighting.records.sharing import SHARED

KIND = "dataset"
"""What such a repository is on the Hub."""
LOGIN = "`hf auth login` or HF_TOKEN tells it who you are"
NOT_ALLOWED = (401, 403)
GITS = {".gitattributes"}
"""What the Hub itself puts into a repository."""


def upload(folder: Path, repository: str, *, private: bool = False, force: bool = False) -> str:
    """Upload a folder that is shared, as one commit; makes the repository where there is none.

    Args:
        folder: holds files of `SHARED` alone.
        repository: its hub id.
        private: whether a new repository is.
        force: whether to add to a repository of something else.

    Returns:
        the repository's address.

    Raises:
        LokrWeightingError: it holds something else, or the Hub cannot be reached or says no.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    api = HfApi()
    with _said(repository):
        try:
            there = {*api.list_repo_files(repository, repo_type=KIND)} - GITS
        except RepositoryNotFoundError:
            there = set()
        if there and SUMMARY not in there and not force:
            raise LokrWeightingError(
                f"{repository}: is there and holds no calibration ({sorted(there)[0]}, ...); name "
                "another repository, or add to it with --force"
            )
        url = api.create_repo(repository, repo_type=KIND, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repository,
            repo_type=KIND,
            folder_path=folder,
            allow_patterns=[*SHARED],
            delete_patterns=[*SHARED],
            commit_message="A calibration of lokr-weighting",
        )
        return str(url)


def download(repository: str, folder: Path, revision: str | None = None) -> None:
    """Download a calibration's files, and nothing else that a repository holds.

    Args:
        repository: its hub id.
        folder: where to; new or empty.
        revision: a branch, tag or commit.

    Raises:
        LokrWeightingError: it is none or holds no calibration, or the Hub cannot be reached.
    """
    from huggingface_hub import HfApi

    with _said(repository):
        HfApi().snapshot_download(
            repository,
            repo_type=KIND,
            revision=revision,
            local_dir=folder,
            allow_patterns=[*SHARED],
        )
    if not (folder / SUMMARY).is_file():
        raise LokrWeightingError(f"{repository}: holds no calibration ({SUMMARY} is missing)")


@contextmanager
def _said(repository: str) -> Iterator[None]:
    """What the Hub or the way to it refuses, in one line."""
    from httpx import HTTPError
    from huggingface_hub.constants import HF_HUB_OFFLINE
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError

    if HF_HUB_OFFLINE:
        raise LokrWeightingError(
            f"{repository}: HF_HUB_OFFLINE is set, so the Hub is not asked; unset it"
        )
    try:
        yield
    except LokrWeightingError:
        raise
    except RepositoryNotFoundError:
        raise LokrWeightingError(
            f"{repository}: there is no such dataset on the Hub, or it is private; {LOGIN}"
        ) from None
    except (HfHubHTTPError, HFValidationError, HTTPError, OSError, ValueError) as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        if getattr(getattr(error, "response", None), "status_code", None) in NOT_ALLOWED:
            raise LokrWeightingError(
                f"{repository}: the Hub does not allow it ({reason}); {LOGIN}"
            ) from None
        raise LokrWeightingError(f"{repository}: the Hub cannot be asked ({reason})") from None
