"""Folders on the Hugging Face hub: which goes where, and what sends them.

Without a token of the user's (`hf auth login`, or HF_TOKEN) it is a dry run: what would be sent is
said, and nothing is. Repositories are made private: who may see weights and rows is a question of
licences, which their cards name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from raytune_agents.config import ConfigError
from raytune_agents.redact import redact

LOGIN = "no token: nothing was sent. Log in by hf auth login, or set HF_TOKEN, and type it again"


@dataclass(frozen=True)
class HubFolder:
    """A folder of this machine, and the repository that it goes to."""

    repo_id: str
    repo_type: str  # model, dataset, space
    path: Path

    @property
    def line(self) -> str:
        """What would be sent."""
        sizes = [p.stat().st_size for p in self.path.rglob("*") if p.is_file()]
        size = sum(sizes) / 2**20
        return f"{self.repo_type} {self.repo_id}: {len(sizes)} files, {size:.1f} MiB of {self.path}"


def hub_folders(out: Path, owner: str, name: str) -> list[HubFolder]:
    """The folders that `export --hub` wrote. Raises ConfigError where OWNER/NAME is no id."""
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    models = sorted(p for p in (out / "models").glob("*") if p.is_dir())
    found = [
        *(HubFolder(f"{owner}/{name}-{p.name}", "model", p) for p in models),
        HubFolder(f"{owner}/{name}-rows", "dataset", out / "dataset"),
        HubFolder(f"{owner}/{name}-report", "space", out / "space"),
    ]
    for folder in found:
        try:
            validate_repo_id(folder.repo_id)
        except HFValidationError as error:
            raise ConfigError(
                f"--push {owner!r}: {error}; write your name at the hub, and a run `name` of "
                "letters, digits, -, _ and ."
            ) from None
        if not folder.path.is_dir():
            raise ConfigError(f"{folder.path} is no folder; write a new one for --hub")
    return found


def push_folders(folders: list[HubFolder], endpoint: str | None = None) -> list[str]:
    """Send each folder to its private repository; what was done, as lines. `endpoint`: of another
    hub. Raises ConfigError where the hub refuses or cannot be reached; earlier ones are sent."""
    from huggingface_hub import HfApi, get_token

    if get_token() is None:
        return [*(f"would send {folder.line}" for folder in folders), LOGIN]
    api, done = HfApi(endpoint=endpoint), []
    for folder in folders:
        name, kind = folder.repo_id, folder.repo_type
        sdk = "static" if kind == "space" else None
        try:
            url = api.create_repo(name, repo_type=kind, space_sdk=sdk, private=True, exist_ok=True)
            api.upload_folder(repo_id=name, repo_type=kind, folder_path=folder.path)
        except Exception as error:  # also of the HTTP library that huggingface_hub brings
            said = " ".join(str(error).split())[:300]
            sent = f"sent are {len(done)} of {len(folders)}, and the same command goes on"
            raise ConfigError(redact(f"hub: {name} is not sent: {said}; {sent}")) from None
        done.append(f"sent {folder.line} to {url}")
    return done
