"""Which values of variables are not to be shown, judged by their names and by what they look like.

It errs towards hiding: a path hidden in vain is looked up where it is written, a key in a log must be replaced.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

NOT_SHOWN = "(not shown)"
"""What stands in the place of a secret."""

_WORD = re.compile(
    r"SECRET|PASSW|PASSPHRASE|CREDENTIAL"  # wherever they stand
    r"|(?:KEY|TOKEN|PASS|PWD|CRED|AUTH|AUTHORI[SZ]ATION|BEARER|COOKIE|DSN|SALT)S?\d*(?:_|$)"  # TOKENIZER is none
)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_LOOK = re.compile(
    r"://[^/\s@]+@"  # a user, and mostly a password, in a URL
    r"|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|\b(?:sk-|hf_|gh[oprsu]_|github_pat_|glpat-|xox[abeprs]-|AKIA|ASIA)[A-Za-z0-9_-]{8}"  # of well-known keys
    r"|\beyJ[A-Za-z0-9_-]{8,}\."  # a JSON web token
)


def looks_secret(name: str, value: str) -> bool:
    """Whether a variable of this name and value is taken for a secret when nobody says."""
    word = _HUMP.sub("_", name).upper().replace("-", "_").replace(".", "_")
    return _WORD.search(word) is not None or _LOOK.search(value) is not None


_SHORTEST = 4
"""Characters of a secret that is looked for in texts: a shorter one stands in every second word."""
_USER_IN_URL = re.compile(r"(?<=://)[^/\s@]+(?=@)")


def veil(text: str, secrets: Iterable[str]) -> str:
    """Return a text of somebody else's, such as an error's message, without the secrets that may have got into it."""
    for secret in sorted(secrets, key=len, reverse=True):  # one may hold another
        for form in {secret, *secret.splitlines()}:
            if len(form) >= _SHORTEST:
                text = text.replace(form, NOT_SHOWN)
    return _USER_IN_URL.sub(NOT_SHOWN, text)
