"""Files that are complete under their final name, or not there. Plain Python."""

import contextlib
import json
import os
import shutil
import tempfile

from slicer.i18n import tr as _

from MIMSegmentLib.Problem import Problem


@contextlib.contextmanager
def replacing(path):
    """Give the name of a temporary file beside `path`; it is renamed when the block has written and checked it.

    :raises Problem: if it cannot be written, on a full disk for example; a file that was there before is still there.
    """
    folder, name = os.path.split(os.path.abspath(path))
    temporary = None
    try:
        os.makedirs(folder, exist_ok=True)
        # In a folder of its own, since Slicer's writers leave more than one file behind when they fail.
        temporary = tempfile.mkdtemp(prefix="MIMSegment-part-", dir=folder)
        yield os.path.join(temporary, name)
        os.replace(os.path.join(temporary, name), path)
    except (OSError, RuntimeError, ValueError) as fault:
        lines = str(getattr(fault, "strerror", None) or fault).strip().splitlines() or [type(fault).__name__]
        raise Problem(
            _("{path} cannot be written ({reason}).").format(path=path, reason=lines[-1]),
            _("Close it in other programs, or choose a folder that you may write to, on a disk with free space."),
        ) from fault
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def writeText(path, text, encoding="utf-8"):
    """Write a text file.

    :raises Problem: if it cannot be written.
    """
    with replacing(path) as temporary, open(temporary, "w", encoding=encoding, newline="") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def writeJson(path, content):
    """Write a JSON file.

    :raises Problem: if it cannot be written.
    """
    writeText(path, json.dumps(content, indent=1, ensure_ascii=False))
