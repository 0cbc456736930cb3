"""Leave out of an environment what no gateway runs: ``trim.py FOLDER`` at the image's build.

Tests, headers and sources of compiled modules, type stubs, the parts of ONNX Runtime that make
models rather than run them, and the names of functions in compiled modules, which only debuggers
read.

References
----------
Executable and Linkable Format (Tool Interface Standard 1.2): the loader reads the segments of the
program header; sections, the symbol table among them, are for linkers and debuggers and lie behind.
"""

from __future__ import annotations

import shutil
import struct
import sys
from pathlib import Path

UNUSED = (
    "**/tests",
    "**/*.pyi",
    "**/*.[ch]",
    "**/*.p[xy][dx]",
    # The C library; the Python module holds a copy of its own.
    "onnxruntime/capi/libonnxruntime.so.*",
    "onnxruntime/quantization",
    "onnxruntime/tools",
    "onnxruntime/transformers",
)
"""What is removed, in ``site-packages``; a pattern that finds nothing stops the build."""

_ELF_64_LITTLE = b"\x7fELF\x02\x01"


def main(folder: Path) -> None:
    """Trim an environment in place."""
    (packages,) = folder.glob("lib/python3*/site-packages")
    for pattern in UNUSED:
        found = sorted(packages.glob(pattern))
        if not found:
            raise SystemExit(f"{pattern} finds nothing in {packages}: take it off the list")
        for path in found:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)  # it lay in a folder that went before it
    for path in packages.rglob("*.so*"):
        drop_symbols(path)


def drop_symbols(path: Path) -> None:
    """Cut off a compiled module behind its last segment, where only section data lies.

    Parameters
    ----------
    path : Path
        Anything but a 64-bit little-endian ELF file is left alone.
    """
    if path.is_symlink():
        return
    data = bytearray(path.read_bytes())
    if not data.startswith(_ELF_64_LITTLE):
        return
    (table,) = struct.unpack_from("<Q", data, 32)
    entry_size, entries = struct.unpack_from("<HH", data, 54)
    end = table + entry_size * entries
    for at in range(table, end, entry_size):
        (offset,) = struct.unpack_from("<Q", data, at + 8)
        (length,) = struct.unpack_from("<Q", data, at + 32)
        end = max(end, offset + length)
    struct.pack_into("<Q", data, 40, 0)  # where the table of sections begins
    struct.pack_into("<HHH", data, 58, 0, 0, 0)  # size of an entry, entries, that of the names
    path.write_bytes(data[:end])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
