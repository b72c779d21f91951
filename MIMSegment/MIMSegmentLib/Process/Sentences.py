"""A sentence, a remedy and an action for each code of the backend."""

from dataclasses import dataclass

from slicer.i18n import tr as _


@dataclass(frozen=True)
class Words:
    """What the panel says.

    :param action: what a click can do about it: "install", "train" (install for training), "dicom" (for
        writing DICOM segmentations), "computer", "models", "box".
    """

    sentence: str
    remedy: str
    action: str = ""


def sentences():
    """Codes of one meaning to the user, and the words for them. A function: the language is known at run time only."""
    again = _("Load the scan again from its original files; the log tells more.")
    model = _("Import the model again, or choose another one.")
    cases = _("Look at the cases on the Fine-tune tab, and check the data there.")
    own = _("Choose other options, or leave them as they were proposed.")
    report = _("Try again; if it happens again, report it with the text of the log.")
    return (
        # -- scans
        ("empty constant", Words(_("The scan is empty or has one value everywhere."), _("Choose another scan."))),
        ("non-finite", Words(_("The scan holds values that are no numbers; they were replaced."), again)),
        (
            "unreadable not-text not-readable reader-gone trailing-bytes more-than-header in-doubt"
            " dicom-elements slice-distance",
            Words(_("A file cannot be read, or not as a whole."), again),
        ),
        (
            "unsupported-format",
            Words(_("A file has a format that is not known."), _("Save it as NIfTI or NRRD and add it again.")),
        ),
        (
            "not-3d needs-frame no-such-frame",
            Words(_("The scan is no single volume."), _("Choose one volume; sequences have an option of their own.")),
        ),
        ("not-scalar", Words(_("The scan has colors or vectors."), _("Choose a scan with one gray value a voxel."))),
        (
            "bad-geometry other-transform",
            Words(_("The scan's geometry cannot be used."), _("Resample it to straight, equal slices (Crop Volume).")),
        ),
        (
            "dicom-irregular-spacing dicom-missing-slices dicom-several-orientations dicom-several-series"
            " dicom-several-sizes dicom-single-file dicom-uneven-frames dicom-skipped no-dicom"
            " not-dicom mosaic-direction monochrome1 dicom-modality-lut",
            Words(_("The DICOM series is not one complete volume."), _("Load it with the DICOM module and use that.")),
        ),
        (
            "field-of-view",
            Words(
                _("The scan is much larger than what the model was made for."),
                _("Add a box for each structure, then segment again."),
                "box",
            ),
        ),
        (
            "nothing-located not-located no-locator bad-locator",
            Words(
                _("The model does not find its region in the scan by itself."),
                _("Check that the scan shows it, or add a box for each structure."),
                "box",
            ),
        ),
        (
            "nothing-found",
            Words(
                _("The model finds none of its structures: the result is empty."),
                _("Check that the scan shows that part of the body."),
            ),
        ),
        ("modality not-mr", Words(_("The scan is of another kind than the model's."), model)),
        (
            "not-hounsfield",
            Words(
                _("The scan's values are not Hounsfield units."),
                _(
                    "If it is not CT, choose another model. Otherwise load it again from its original DICOM files; if "
                    "1024 was added to all values, subtract it."
                ),
            ),
        ),
        (
            "nothing-known",
            Words(
                _("The model finds nothing of what it knows in this scan: there is no result."),
                _("Check that the scan shows that part of the body. If it does, add a box around it."),
                "box",
            ),
        ),
        (
            "sided-labels",
            Words(
                _("Structures are named left and right, but the model will tell the sides apart by itself."),
                _("Give both sides of a structure one name, or choose nothing at Found by."),
            ),
        ),
        (
            "mirrored-sides",
            Words(
                _("Structures are named left and right, and keep their names in mirrored cases."),
                _("Let structures change places where cases are mirrored, or mirror none."),
            ),
        ),
        (
            "boxes-from-labels",
            Words(
                _("Some cases were cut around their labels: what is chosen at Found by is not found near them."),
                _("Check that it is near the structures, and that these cases show it."),
            ),
        ),
        (
            "whole-scans",
            Words(
                _("The cases show much more than the structures: the model cannot be found by another one."),
                _("Cut the cases around the structures (Crop Volume), or choose nothing at Found by."),
            ),
        ),
        (
            "nothing-labelled nothing-to-score",
            Words(
                _("The labelmaps of all cases to train on, or of all to score by, are empty."),
                _("Draw the structures, or choose other cases."),
            ),
        ),
        ("bad-region", Words(_("A box does not lie within the scan."), _("Move the box, or uncheck it."), "box")),
        (
            "wrong-channels channel-count no-features",
            Words(_("The model needs other volumes."), _("Check the volumes that the model's card lists.")),
        ),
        (
            "no-images file-missing not-found beside-image",
            Words(_("A file or folder is not there."), _("Choose one that is, or put it back.")),
        ),
        ("grid-mismatch", Words(_("Files do not lie on the same grid."), _("Use those that belong together."))),
        (
            "same-name ambiguous-case unknown-case",
            Words(_("Names of cases do not tell them apart."), _("Give each its own.")),
        ),
        (
            "other-results",
            Words(
                _("Results that are there already were made otherwise, and stay."),
                _("Look at those that the log names before you use them."),
            ),
        ),
        (
            "same-name-in-table",
            Words(
                _("The table of volumes has rows of other scans, or of earlier results."),
                _("Look at the rows that the log names before you use the table."),
            ),
        ),
        (
            "no-preview",
            Words(_("There is no picture of a result."), _("The result itself is there; the log tells more.")),
        ),
        ("cases-failed case-skipped", Words(_("Some scans could not be used."), _("The log tells which, and why."))),
        # -- models
        (
            "no-such-model not-a-model",
            Words(_("This is not a model that MIMSegment knows."), _("Choose another one, or import it."), "models"),
        ),
        (
            "model-damaged bad-model bad-card bad-weights bad-archive unsafe-archive unsafe-model bad-checkpoint",
            Words(_("The model is damaged or incomplete."), model, "models"),
        ),
        (
            "model-version unsupported-network shape-unknown unknown-weights ambiguous-weights import-needs"
            " transfer-incomplete other-network unknown-network no-encoder",
            Words(_("This version of MIMSegment cannot use the model."), _("Update MIMSegment, or use another model.")),
        ),
        ("model-exists", Words(_("There is a model of this name already."), _("Replace it, or give another name."))),
        ("shipped-model", Words(_("Models that came with MIMSegment stay."), _("Choose one of yours."))),
        (
            "models-differ trained-on training-cases-unknown",
            Words(_("The models do not agree with the cases."), _("Choose models of the same structures.")),
        ),
        ("no-quick-mode overlap", Words(_("The model cannot be used in this way."), own)),
        ("unknown-label", Words(_("The model has no structure of this name."), _("Check the list of structures."))),
        # -- cases for training
        (
            "no-cases no-dataset bad-dataset too-few-cases no-validation few-negatives no-labels no-label-file",
            Words(_("There are too few cases that can be used."), cases),
        ),
        (
            "bad-labels not-a-labelmap unknown-label-value unknown-segment bad-json too-many-values"
            " dicom-no-structures missing-contours outside-image segment-without-layer stray-voxels",
            Words(_("Labels of a case cannot be used."), cases),
        ),
        (
            "overlap-trained",
            Words(
                _("Segments overlap, and the structures are trained so that they may."),
                _("If they exclude each other, give each voxel to one of them."),
            ),
        ),
        (
            "masks-left-out",
            Words(_("Masks among the scans were left out."), _("If one of them is a scan, choose the file by itself.")),
        ),
        (
            "beside-series",
            Words(
                _("Image files beside a DICOM series were left out."),
                _("Choose them by themselves, or put the series into a folder of its own."),
            ),
        ),
        (
            "maps-left-out",
            Words(
                _("Maps of uncertainty of an earlier ranking were left out."),
                _("If one of them is a scan, choose the file by itself."),
            ),
        ),
        (
            "negative-spacing",
            Words(
                _("The file counts voxels backwards along an axis, and was read so."),
                _("Compare it with a scan of known orientation: left and right may be exchanged."),
            ),
        ),
        (
            "scale-ignored",
            Words(
                _("The file names a scale of intensities that cannot be; its numbers were taken as they are stored."),
                _("Look at the intensities before you trust what is measured on them."),
            ),
        ),
        (
            "matched-by-value no-common-names",
            Words(
                _("The two segmentations do not name their structures alike."),
                _("Give both the same names of structures, and compare again."),
            ),
        ),
        (
            "start-knows-validation",
            Words(
                _("The model to start from was trained on cases that score the new one: the scores will be too high."),
                _("Start from an earlier model, or let new cases score."),
            ),
        ),
        (
            "start-knows-cases",
            Words(
                _("The model to start from was trained on cases that are to score the new one."),
                _("Start from the model that it was made from, from no model, or let the time go into one training."),
            ),
        ),
        ("leaking-validation", Words(_("A patient is both learned from and scored on."), cases)),
        (
            "settings-differ bad-run run-missing bad-study not-finishable",
            Words(_("The training cannot be continued."), _("Start a new one under another name.")),
        ),
        (
            "output-exists bad-name bad-output",
            Words(_("The name is taken or cannot be used."), _("Choose another name.")),
        ),
        (
            "too-few-minutes not-scored not-measured",
            Words(_("The time does not suffice for everything."), _("Give it more minutes.")),
        ),
        (
            "bad-usage bad-input usage bad-preprocessing bad-window loss-not-finite",
            Words(_("These choices do not go together."), own),
        ),
        # -- computer
        (
            "missing-package package-missing no-engine",
            Words(_("A needed package is missing."), _("Install it; nothing of Slicer's is replaced."), "install"),
        ),
        (
            "dicom-package-missing",
            Words(
                _("DICOM segmentations need a package that is missing."),
                _("Install it, once; nothing of Slicer's is replaced."),
                "dicom",
            ),
        ),
        (
            "training-runtime-missing",
            Words(_("Training needs packages that are missing."), _("Install them, once; they are large."), "train"),
        ),
        (
            "broken-package",
            Words(_("A package is damaged."), _("Install it again; restart 3D Slicer if that fails."), "computer"),
        ),
        (
            "no-gpu no-device gpu-not-used engine precision",
            Words(_("The graphics card cannot be used for this."), _("Choose Automatic as the device."), "computer"),
        ),
        (
            "out-of-memory gpu-out-of-memory memory-ran-out",
            Words(
                _("The memory of this computer does not suffice."),
                _("Close other programs, choose a smaller region (ROI), or choose another device."),
            ),
        ),
        (
            "cannot-write no-locks",
            Words(
                _("A file cannot be written."),
                _("Choose a folder that you may write to, on a disk with free space."),
            ),
        ),
        ("bug", Words(_("The computation failed by a fault of MIMSegment's own."), report)),
        ("import stopped", Words(_("The computation ended early."), report)),
    )
