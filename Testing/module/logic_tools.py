"""What the tests of the module's logic share: volumes, models, stand-ins for the backend, waiting.

Nothing here needs more than 3D Slicer's Python, so that the tests run inside 3D Slicer too.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "MIMSegment"
for folder in (MODULE, ROOT / "backend" / "src", ROOT / "Testing" / "backend" / "tools"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

# Non-ASCII and a space, as in many a user's name.
FOLDER = "Größe 体 x"
ENDS = ("finished", "failed", "stopped")


def wait_until(condition, timeout=60.0):
    """Let Qt work until the condition holds; True if it came to hold."""
    import slicer

    end = time.monotonic() + timeout
    while time.monotonic() < end:
        slicer.app.processEvents()
        if condition():
            return True
        time.sleep(0.01)
    return False


def wait(seconds):
    wait_until(lambda: False, seconds)


def is_alive(process_id):
    """True unless the process is gone; a dead child that nobody has waited for yet is gone."""
    try:
        os.kill(process_id, 0)
    except OSError:
        return False
    try:
        return Path(f"/proc/{process_id}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return not Path("/proc/self").exists()


def oblique(spacing=(1.5, 0.8, 2.5), origin=(10.0, -20.0, 30.0), angle=25.0):
    """vtkMatrix4x4 from indices to RAS of an oblique, anisotropic volume."""
    import vtk

    transform = vtk.vtkTransform()
    transform.Translate(*origin)
    transform.RotateWXYZ(angle, 1, 2, 3)
    transform.Scale(*spacing)
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(transform.GetMatrix())
    return matrix


def smooth_values(shape=(14, 16, 18), seed=0):
    """Values from 0 to 100 that vary slowly, (k, j, i): the tiny model finds compact structures in them."""
    generator = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.linspace(0, 1, n) for n in shape), indexing="ij")
    waves = sum(np.sin(2 * np.pi * (generator.uniform(0.5, 1.5) * a + generator.uniform())) for a in axes)
    return ((waves - waves.min()) / (waves.max() - waves.min()) * 100).astype(np.float32)


def add_volume(scene, name="Kopf ä/1", values=None, matrix=None):
    """A scalar volume in the scene."""
    import slicer

    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    slicer.util.updateVolumeFromArray(node, smooth_values() if values is None else values)
    node.SetIJKToRASMatrix(oblique() if matrix is None else matrix)
    node.CreateDefaultDisplayNodes()
    return node


def add_segmentation(scene, volume, structures, name="Segmentation"):
    """A segmentation; `structures`: {name: mask (k, j, i)} or {name: (mask, terminology entry)}."""
    import slicer
    import vtk
    from vtk.util import numpy_support

    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    for title, content in structures.items():
        mask, entry = content if isinstance(content, tuple) else (content, "")
        image = slicer.vtkOrientedImageData()
        image.SetDimensions(mask.shape[::-1])
        scalars = numpy_support.numpy_to_vtk(np.ascontiguousarray(mask, np.uint8).ravel(), deep=True)
        image.GetPointData().SetScalars(scalars)
        image.SetGeometryFromImageToWorldMatrix(matrix)
        segment = slicer.vtkSegment()
        segment.SetName(title)
        segment.SetColor(1.0, 0.2, 0.4)
        if entry:
            segment.SetTag(segment.GetTerminologyEntryTagName(), entry)
        segment.AddRepresentation("Binary labelmap", image)
        node.GetSegmentation().AddSegment(segment)
    return node


def box(shape, *slices):
    """A mask (k, j, i) that is true in a box."""
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*ends) for ends in slices)] = True
    return mask


def terminology(value, meaning, modifier=""):
    """A terminology entry as 3D Slicer stores it."""
    side = f"SCT^7771000^{modifier}" if modifier == "Left" else f"SCT^24028007^{modifier}" if modifier else "^^"
    return (
        "Segmentation category and type - 3D Slicer General Anatomy list"
        f"~SCT^123037004^Anatomical Structure~SCT^{value}^{meaning}~{side}"
        "~Anatomic codes - DICOM master list~^^~^^"
    )


def nodes(scene):
    """IDs of all nodes."""
    return [scene.GetNthNode(number).GetID() for number in range(scene.GetNumberOfNodes())]


def labels_of(logic, node, volume=None):
    """Voxels (k, j, i) of a segmentation, with its segments' own values."""
    values = {segment["id"]: segment["labelValue"] for segment in logic.scene.segments(node)}
    return logic.scene.labelArray(node, values, volume)[0]


def add_cases(logic, scene, count=3, shape=(16, 16, 16)):
    """Cases from the scene whose structure is the bright middle of the volume."""
    for number in range(count):
        generator = np.random.default_rng(number)
        mask = box(shape, *((4 + number % 2, 11),) * 3)
        values = (generator.normal(20, 5, shape) + mask * 60).astype(np.float32)
        volume = add_volume(scene, f"Fall {number}", values, oblique((1.0, 1.0, 1.0)))
        node = add_segmentation(scene, volume, {"Kern": mask})
        logic.cases.addFromScene(logic.scene, volume, node)


def segment(logic, volumes, model, rois=(), **options):
    """Segment one volume or several with `SegmentOptions`."""
    from MIMSegmentLib.Process.Command import SegmentOptions

    logic.segment(volumes if isinstance(volumes, list) else [volumes], SegmentOptions(model, **options), rois)


def finetune(logic, title, minutes, initial="none", device="auto", more=(), **options):
    """Start a training with `FinetuneOptions`."""
    from MIMSegmentLib.Process.Command import FinetuneOptions

    logic.startFinetuning(FinetuneOptions(title, float(minutes), initial, device, more=more, **options))


def pretrain(logic, folders, title, minutes, device="auto", more=()):
    """Start a pre-training with `PretrainOptions`."""
    from MIMSegmentLib.Process.Command import PretrainOptions

    data = tuple(folders) if isinstance(folders, list) else (folders,)
    logic.startPretraining(PretrainOptions(title, data, float(minutes), device, more=more))


class Recorder:
    """Keeps what a Logic tells."""

    def __init__(self, logic):
        self.events = []
        self._logic = logic
        for source in (logic.work, logic.training, logic):
            for name, signal in vars(source).items():
                # The log of the slots comes by way of the logic.
                if hasattr(signal, "emit") and not (name == "message" and source is not logic):
                    signal.connect(lambda *values, name=name: self.events.append((name, *values)))

    def __getitem__(self, name):
        return [values for found, *values in self.events if found == name]

    @property
    def names(self):
        return [name for name, *_values in self.events]

    def wait(self, timeout=120.0):
        """Wait for the end of the run; its name and values."""
        assert wait_until(lambda: any(name in ENDS for name in self.names), timeout), self.events[-5:]
        assert not self._logic.running
        ends = [event for event in self.events if event[0] in ENDS]
        assert len(ends) == 1, ends
        return ends[0]

    def clear(self):
        self.events.clear()


SCRIPTED = """
import json, os, subprocess, sys, time

def tell(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)

ARGUMENTS = sys.argv[1:]
"""


def scripted_backend(folder, script):
    """A Backend whose `mimseg` is `script`, run as a real child process."""
    from MIMSegmentLib.Process.Backend import Backend

    package = Path(folder) / "Resources" / "backend" / "mimseg"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(SCRIPTED + script, encoding="utf-8")
    return Backend(str(folder))


def read_json(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))
