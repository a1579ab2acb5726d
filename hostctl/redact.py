"""Keeps secrets out of what we print (D6), and reads the secret files."""

from __future__ import annotations

import json
import re
from typing import Dict, Iterable, List
from urllib.parse import quote

from hostctl.errors import BadInput, HostctlError
from hostctl.layout import Layout, read_text

MASK = "***"
SHORT = 4
_MISREAD = (
    ("'", "a single quote"),
    (r"\\", "a backslash"),
    (r"\$\{", "`${`"),
    (r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]", "a control character"),
)


class Unreadable(HostctlError):
    """A secret file that somebody edited by hand into what we don't write."""


def parse_env_file(text: str, file: str = "the secret file") -> Dict[str, str]:
    """`KEY="value"` lines, the value being a JSON string.

    Raises Unreadable with the file and the line, never with what stands there.
    """
    found: Dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        key, _, written = line.partition("=")
        if not line.strip() or line.startswith("#"):
            continue
        try:
            value = json.loads(written)
        except ValueError:
            value = None
        if not isinstance(value, str):
            cure = "`hostctl secrets NAME` or the next `make up` writes it again"
            raise Unreadable('%s, line %d: is not KEY="value" in JSON\'s quotes; %s' % (file, number, cure))
        found[key] = value
    return found


def env_file(secrets: Dict[str, str]) -> str:
    """The text of a secret file: sorted, so that the same secrets give the same file."""
    return "".join("%s=%s\n" % (key, json.dumps(secrets[key])) for key in sorted(secrets))


def compose_env_file(owner: str, secrets: Dict[str, str]) -> str:
    """The text of a secret file as `env_file:` takes it: what docker-compose 1.29 and v2 read the same.

    Raises BadInput for a value that one of them would change; never with the value in its text.
    """
    for key, value in secrets.items():
        for bad, what in _MISREAD:
            if re.search(bad, value):
                message = "secrets.%s: %s holds %s, which docker-compose would change: choose another, or base64 it"
                raise BadInput(message % (owner, key, what))
    return "".join("%s='%s'\n" % (key, secrets[key]) for key in sorted(secrets))


def read_secrets(layout: Layout, name: str) -> Dict[str, str]:
    """The secrets of one owner; none when it has no file. Raises Unreadable."""
    path = layout.secret_file(name)
    text = read_text(path)
    return {} if text is None else parse_env_file(text, str(path))


def former_secrets(layout: Layout, name: str) -> Dict[str, str]:
    """The same for who is about to write them anew: a file that can't be read holds nothing to go back to."""
    try:
        return read_secrets(layout, name)
    except Unreadable:
        return {}


def values_of(layout: Layout, names: Iterable[str]) -> List[str]:
    """All secret values of these owners; of a file that can't be read, whatever stands in it."""
    found: List[str] = []
    for name in names:
        try:
            found += read_secrets(layout, name).values()
        except Unreadable:
            found += _written(read_text(layout.secret_file(name)) or "")
    return found


def _written(text: str) -> List[str]:
    found: List[str] = []
    for line in text.splitlines():
        for written in {line, line.partition("=")[2]}:
            found += [written.strip(), written.strip().strip("\"'")]
    return found


def redact(text: str, values: Iterable[str]) -> str:
    """The text without the secrets, in the forms in which programs print them.

    Longest first, so that a secret that contains another leaves nothing over. Short values are
    masked as whole words only: masking every "a" would leave no message.
    """
    for form in sorted(_forms(values), key=len, reverse=True):
        whole_word = r"(?<!\w)%s(?!\w)" if len(form) < SHORT else "%s"
        text = re.sub(whole_word % re.escape(form), MASK, text)
    return text


def _forms(values: Iterable[str]) -> List[str]:
    forms: Dict[str, None] = {}
    for value in values:
        for line in [value, *value.splitlines()]:
            for form in (line, json.dumps(line)[1:-1], repr(line)[1:-1], quote(line), quote(line, safe="")):
                if form.strip():
                    forms[form] = None
    return list(forms)
