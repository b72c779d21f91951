"""What the tests of segmenting share: a scan whose labels are known, and a reporter that remembers."""

import numpy as np
import SimpleITK as sitk

from mimseg.commands.segment.settings import SegmentSettings
from mimseg.events import Reporter

OBLIQUE = np.array([[0.9, -0.42, 0.1], [0.41, 0.9, 0.15], [-0.15, -0.09, 0.98]])
OBLIQUE = np.linalg.svd(OBLIQUE)[0] @ np.linalg.svd(OBLIQUE)[2]


class Recorder(Reporter):
    def __init__(self):
        self.events = []

    def start(self, command, **fields):
        self.events.append(("start", command, fields))

    def progress(self, phase, done, total):
        self.events.append(("progress", phase, done, total))

    def warning(self, code, message):
        self.events.append(("warning", code, message))

    def result(self, **fields):
        self.events.append(("result", fields))

    @property
    def warnings(self):
        return [event[1] for event in self.events if event[0] == "warning"]


def write_scan(path, size=(22, 18, 9), spacing=(0.9, 1.1, 3.0), direction=None, low=0.0):
    """A dark scan with a grey block and a bright one; returns the expected labels and the scan."""
    array = np.full(size, low, np.float32)
    expected = np.zeros(size, np.uint8)
    i, j, k = (edge // 4 for edge in size)
    array[i : 2 * i + 2, j : 3 * j, k : 3 * k] = 50
    expected[i : 2 * i + 2, j : 3 * j, k : 3 * k] = 3
    array[2 * i + 4 : 3 * i + 4, j : 2 * j, k : 2 * k + 1] = 100
    expected[2 * i + 4 : 3 * i + 4, j : 2 * j, k : 2 * k + 1] = 7
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetSpacing(spacing)
    image.SetOrigin((31.25, -47.5, 12.125))
    image.SetDirection((OBLIQUE if direction is None else direction).ravel().tolist())
    sitk.WriteImage(image, str(path))
    return expected, image


def settings_for(model, scan, output, **changes):
    scans = scan if isinstance(scan, tuple) else (scan,)
    return SegmentSettings(inputs=scans, model=str(model), output=output, engine="openvino", device="cpu", **changes)
