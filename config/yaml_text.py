"""Reads the text of YAML with line numbers, and describes what is wrong with it without showing a secret.

Used by `config.load`.
"""

import re
import warnings
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import ConstructorError, DuplicateKeyError, RoundTripConstructor
from ruamel.yaml.error import YAMLError
from ruamel.yaml.reader import ReaderError

from config.fields import HIDDEN


class _Constructor(RoundTripConstructor):
    """Reports the line of a value that its type cannot have, such as a date with a 13th month.

    If `repeated` is a list, a key that is there twice is added to it, and the first one counts; else it is an error.
    """

    repeated: list[YAMLError] | None = None

    def check_mapping_key(self, node: Any, key_node: Any, mapping: Any, key: Any, value: Any) -> bool:
        try:
            unique: bool = super().check_mapping_key(node, key_node, mapping, key, value)
        except DuplicateKeyError as error:
            if self.repeated is None:
                raise
            self.repeated.append(error)
            return False
        return unique

    def construct_object(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - the library's signature
        try:
            built = super().construct_object(node, deep=deep)
            if isinstance(built, int):
                str(built)  # raises for more than 4,300 digits, which no message could print
        except BROKEN as error:
            raise ConstructorError(None, None, "a value that its type cannot have", node.start_mark) from error
        return built


BROKEN = (ValueError, TypeError, LookupError, AttributeError, RecursionError, NotImplementedError)
"""Errors that the library raises, in addition to its own, for values that contradict their tags, and for some comments."""


def parsed(text: str, repeated: list[YAMLError] | None = None) -> Any:
    """Return the one document in `text`, with line numbers. Raises YAMLError or one of `BROKEN`.

    With `repeated`, a key that is there twice is added to this list instead of being raised.
    """
    yaml = YAML()
    yaml.Constructor = _Constructor
    yaml.constructor.repeated = repeated
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about style, such as an anchor used twice
        return yaml.load(text)


_QUOTED = re.compile(
    r"""(?P<sign>'(\\(x\w{2}|u\w{4}|U\w{8}|.)|[^\\]|<[^']*>)'|"(\\(x\w{2}|u\w{4}|U\w{8}|.)|[^\\]|<[^"]*>)")|'[^']*'|"[^"]*\""""
)
"""A quoted part of the library's message: one character or a token such as `<block end>` (`sign`), or a word."""


def line_of(error: Exception, text: str) -> int:
    """Return the line of an error of `parsed`, counted from 1."""
    mark = getattr(error, "problem_mark", None)
    return mark.line + 1 if mark is not None else text.count("\n", 0, getattr(error, "position", 0)) + 1


def fault(error: Exception) -> str:
    """Return the library's message without words of the document, because one may be a password."""
    if isinstance(error, RecursionError):
        return "values nested too deeply"
    if isinstance(error, NotImplementedError):
        return "a comment in a place where no comment can be read"
    if isinstance(error, ReaderError):
        return f"the character U+{error.character:04X}, which YAML does not allow"
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "a value that its type cannot have")
    head, with_value, _ = problem.partition(" with value ")
    return head if with_value else _QUOTED.sub(lambda found: found[0] if found["sign"] else HIDDEN, problem)
