"""Takes passwords out of anything that is shown: URLs, connection strings, and error texts that quote them."""

from __future__ import annotations

import re

MASK = "***"

_WHOLE_URL = re.compile(r"\s*[a-z][a-z0-9+._-]*://", re.IGNORECASE)
_IN_URL = re.compile(r"([a-z][a-z0-9+._-]*://[^\s:/@?]*:)[^\s]*@", re.IGNORECASE)
_IN_WHOLE_URL = re.compile(r"(://[^:/@?]*:).*@", re.DOTALL)
# Also pgpassword=…, sslpassword=…, and what users call theirs: passwd, pwd, secret, token.
_AS_OPTION = re.compile(
    r"(\w*(?:password|passwd|pwd|secret|token)\w*\s*=\s*)(?:'(?:[^'\\]|\\.)*'|\"[^\"]*\"|[^\s&'\"]+)", re.IGNORECASE
)


def redact(text: str) -> str:
    """Return `text` with every password in it replaced by `***`.

    It rather hides too much than too little: in running text a password ends at the last "@" of its word.
    """
    whole = _WHOLE_URL.match(text) is not None and text.count("://") == 1 and "\n" not in text.strip()
    hidden = _IN_WHOLE_URL.sub(rf"\1{MASK}@", text) if whole else _IN_URL.sub(rf"\1{MASK}@", text)
    return _AS_OPTION.sub(rf"\1{MASK}", hidden)
