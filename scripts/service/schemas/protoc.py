"""Compiles schemas of Protobuf by protoc, in a process of its own. Needs the extra `protobuf`."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

_TIMEOUT_S = 20.0
_MAIN = "firnline.schema.proto"
_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*){0,20}", re.ASCII)
"""The names of imports: no part of one begins with a dot, so all lie in the folder."""

_MOST_DEPTH = 100


def compiled(text: str, imports: Mapping[str, str]) -> bytes:
    """Return the FileDescriptorSet of a schema and of its imports by name, serialized; the schema's file comes last.

    May wait 20 s. Raises ValueError, with a text for people, if protoc does not accept it.
    """
    with tempfile.TemporaryDirectory(prefix="firnline-schema-") as folder:
        root = Path(folder)
        for name, content in {**imports, _MAIN: text}.items():
            if not _NAME.fullmatch(name) or len(name) > 200 or _depth(content) > _MOST_DEPTH:
                raise ValueError(f"imports with plain names, and at most {_MOST_DEPTH} braces within each other")
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return _run(root, root / _MAIN)


def compiled_file(path: Path) -> bytes:
    """Return the FileDescriptorSet of a file of a schema, with the files beside it that it imports. As `compiled`."""
    return _run(path.parent.resolve(), path.resolve())


def _run(root: Path, main: Path) -> bytes:
    with tempfile.TemporaryDirectory(prefix="firnline-schema-") as folder:
        made = Path(folder) / "descriptors"
        command = [sys.executable, "-P", "-m", "grpc_tools.protoc"]  # -P: no package of the present folder
        try:
            done = subprocess.run(
                [*command, f"-I{root}", "--include_imports", f"--descriptor_set_out={made}", str(main)],
                check=False,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            raise ValueError(f"a schema of Protobuf that protoc compiles in {_TIMEOUT_S:.0f} s") from None
        if done.returncode:
            told = [
                line.replace(f"{root}/", "") for line in done.stderr.splitlines() if re.match(r"\S+\.proto:", line)
            ]  # others are of its log
            raise ValueError(f"a schema of Protobuf; protoc says: {told[0][:300] if told else f'exit code {done.returncode}'}")
        return made.read_bytes()


def _depth(text: str) -> int:
    """Return the depth of braces, those in comments too."""
    depth = most = 0
    for brace in re.findall("[{}]", text):
        depth += 1 if brace == "{" else -1
        most = max(most, depth)
    return most
