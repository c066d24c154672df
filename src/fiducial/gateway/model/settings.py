"""The file of `fiducial up --models FILE`: where models are, and what holds for what passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

from joserfc.jwk import KeySet
from pydantic import AfterValidator, Field, ValidationError

from fiducial.charter.classes import BUILT_IN_CLASSES
from fiducial.charter.findings import did_you_mean, quote, report
from fiducial.charter.model import Charter
from fiducial.charter.yaml import Document
from fiducial.core.canonical import digest_bytes
from fiducial.errors import CharterError, Problem
from fiducial.gateway.model.masking import maskable
from fiducial.gateway.requests import MAX_WAIT
from fiducial.gateway.settings import PrivateUrl, Words, Written, filled, keys_of, named, read, secret

_SHORTEST: Final = 32
"""Characters of the secret that tokens are made with."""


class ModelSettings(Written):
    """One address of a provider."""

    speaks: Literal["openai", "anthropic"]
    """The API there: `openai` has Chat Completions and Responses, `anthropic` Messages."""
    url: PrivateUrl
    """Where it is, up to what an SDK calls its base URL; https unless it is on this machine."""
    key_env: str = ""
    """The variable that holds the key for it; empty: without one. The tokens of those who come in here never get
    there."""
    charter: str = ""
    """Directory of the charter for what comes through here, from this file's; empty: the one of `fiducial up`."""
    prompt: str = ""
    """Name of a prompt of that charter (`prompts/<name>.md`), which is put before every request's own."""
    calls: Literal["decide", "leave"] = "decide"
    """`decide`: a call goes to the client once it may be made. `leave`: it goes on as it is, where it is decided
    elsewhere in the same session."""
    wait: Annotated[float, Field(ge=0, le=MAX_WAIT)] = 0.0
    """Seconds for which a call that is held waits for people before it is withheld."""
    prompts: Literal["user", "agent"] = "user"
    """Whose words messages of the role `user` are, where no statement of a host says what its user asked for. `agent`
    where programs write into them what others have written."""
    provider_tools: Words = ()
    """Tools that run at the provider, which may be used though nobody decides their calls."""
    mask: Words = ()
    """Classes of data that the provider does not get; tokens stand in their place."""
    restore: Words | None = None
    """Those of them that the client gets back in the answer, where policies let them; without it, all."""
    audience: Literal["self", "organization", "third_party", "public"] = "self"
    """Who gets to see the answers: the user, or others too. Policies on `respond` decide what goes back to them."""


class _Top(Written):
    models: Annotated[dict[str, ModelSettings], AfterValidator(filled), AfterValidator(named)]
    """Name → provider: it is at `/models/<name>`."""
    hosts: dict[str, str] = Field(default_factory=dict)
    """Host → file of the public keys (a JWK Set) by which it signs what its users asked for."""
    masking_secret_env: str = ""
    """The variable that holds the secret from which tokens are made, 32 characters at least; without it they change
    with every start."""


class ModelsSettings:
    """The whole file, checked, with the keys and the secrets that it names."""

    def __init__(
        self, written: _Top, folder: Path, hosts: Mapping[str, KeySet], keys: Mapping[str, str], masking: bytes | None
    ) -> None:
        self.models, self.hosts, self.masking = written.models, hosts, masking
        self._folder, self._keys = folder, keys

    def charter(self, model: str) -> Path | None:
        """Directory of the model's own charter."""
        own = self.models[model].charter
        return self._folder / own if own else None

    def key(self, model: str) -> str | None:
        """With which this gateway comes in there."""
        return self._keys.get(model)


def read_settings(
    path: Path, environment: Mapping[str, str], charter_in: Callable[[Path | None], Charter]
) -> ModelsSettings:
    """The settings in `path`; `charter_in`: the charter of a directory, or of models that name none (`None`). Raises
    `CharterError` with every problem, or when a file cannot be read."""
    return read(path, lambda document: _checked(document, path.parent, environment, charter_in))


def prompt_of(charter: Charter, folder: Path, name: str) -> str:
    """The prompt of that name of the charter in `folder`, in the version that counts in its digest. Raises
    `CharterError`."""
    file = f"prompts/{name}.md"
    try:
        text = (folder / file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise CharterError([Problem(file, 0, "missing-file", f"the charter has no prompt `{name}`")]) from None
    if charter.companions.get(file) != digest_bytes("\n".join(text.splitlines()).encode()):
        raise CharterError([Problem(file, 0, "changed", "it was changed while the charter was read; start again")])
    return text.strip()


def _checked(
    document: Document, folder: Path, environment: Mapping[str, str], charter_in: Callable[[Path | None], Charter]
) -> ModelsSettings | None:
    try:
        top = _Top.model_validate(document.data if document.data is not None else {})
    except ValidationError as error:
        report(document, error, _Top)
        return None
    keys: dict[str, str] = {}
    for name, model in top.models.items():
        at = ("models", name)
        if model.mask:
            charter = charter_in(folder / model.charter if model.charter else None)
            _check_classes(document, (*at, "mask"), model.mask, charter)
        for data_class in model.restore or ():
            if data_class not in model.mask:
                document.problem((*at, "restore"), "invalid-value", f"`{data_class}` is not masked")
        if model.key_env:
            keys[name] = secret(document, (*at, "key_env"), model.key_env, environment)
    masking = None
    if top.masking_secret_env:
        text = secret(document, ("masking_secret_env",), top.masking_secret_env, environment)
        masking = text.encode()
        if len(masking) < _SHORTEST:
            what = f"`{top.masking_secret_env}` has less than {_SHORTEST} characters"
            document.problem(("masking_secret_env",), "invalid-value", what)
    return ModelsSettings(top, folder, keys_of(document, top.hosts, folder), keys, masking)


def _check_classes(document: Document, at: tuple[str, ...], names: tuple[str, ...], charter: Charter) -> None:
    known = maskable(charter)
    for index, name in enumerate(names):
        if name not in known:
            declared = name in BUILT_IN_CLASSES or name in charter.about.data_classes
            what = "cannot be told: nothing says how it is written" if declared else "is no data class"
            fix = did_you_mean(name, known)
            if declared:
                fix = "add a form to `detect` in charter.yaml, or let `recognize` there name a model"
            fix = fix or "the classes here are " + ", ".join(f"`{each}`" for each in sorted(known))
            document.problem((*at, index), "unknown-class", f"{quote(name)} {what}", fix)


__all__ = ["ModelSettings", "ModelsSettings", "prompt_of", "read_settings"]
