import logging
import os

from slicer.i18n import tr as _

from MIMSegmentLib.Files import writeJson
from MIMSegmentLib.Problem import Problem
from MIMSegmentLib.Scene.CaseTable import LABELS, TABLE, CaseTable
from MIMSegmentLib.Scene.LabelFile import VOLUME_ENDINGS, LabelFile, findLabels, stem


class Cases(CaseTable):
    """The table of training cases, filled with volumes and segmentations of the scene or of folders.

    A case may be a segmentation alone: training draws images from it. A voxel value always means the same structure in
    all cases: segments are matched by name or code.
    """

    # -- reading

    def problems(self):
        """What is wrong, without reading any voxel: list of {case, severity, message, remedy}."""
        entries, found = self.entries(), []

        def tell(case, severity, message, remedy):
            found.append({"case": case, "severity": severity, "message": message, "remedy": remedy})

        if not entries:
            tell("", "error", _("There is no case yet."), _("Add volumes with their segmentations."))
        counts = {}
        for entry in entries:
            for name in entry.get("structures", []):
                counts[name] = counts.get(name, 0) + 1
            for file in (*([entry["image"]] if entry["image"] else []), entry.get("label") or ""):
                if not file or not os.path.exists(self.path(file)):
                    message = _("The file {path} is missing.").format(path=self.path(file))
                    tell(entry["id"], "error", message, _("Put it back, or remove the case and add it again."))
            if not entry.get("structures"):
                message = _("The segmentation is empty.")
                tell(entry["id"], "error", message, _("Draw the structures and add the case again, or remove it."))
        for name, count in counts.items():
            if count == 1 and len(entries) > 1:
                tell(
                    next(entry["id"] for entry in entries if name in entry.get("structures", [])),
                    "warning",
                    _("The structure '{name}' is in no other case.").format(name=name),
                    _("If it is spelled differently there, give it one name and add the case again."),
                )
        return found

    # -- changing

    def addFromScene(self, scene, volumeNode, segmentationNode, source="scene", warn=logging.warning):
        """Add a volume with its segmentation; both are written to files.

        Where its scan is that of another case, both become cases of one subject.

        :param scene: a `Scene`.
        :param volumeNode: None for a segmentation alone, on the grid that it was made on.
        :param warn: is told, in a sentence, of what the files cannot hold.
        :returns: the identifier of the case.
        :raises Problem: if there is nothing to learn from, or the files cannot be written.
        """
        if segmentationNode is None:
            raise Problem(_("A case needs a segmentation."), _("Choose one."))
        segments = scene.segments(segmentationNode)
        labels = self.labels()
        values = labels.match(segments)
        identifier = self.newIdentifier((volumeNode or segmentationNode).GetName())
        image, label = f"images/{identifier}.nrrd" if volumeNode else "", f"labels/{identifier}.nrrd"
        try:
            voxels, shared = scene.exportSegmentation(segmentationNode, volumeNode, self.path(label), values)
            present = [segment["name"] for segment in segments if voxels.get(segment["id"])]
            if not present:
                raise _noVoxel(segmentationNode, volumeNode)
            if volumeNode is not None:
                scene.exportVolume(volumeNode, self.path(image))
        except Problem:
            self.removeFiles(image, label)
            raise
        names = labels.namesOf(values[segment["id"]] for segment in segments if voxels.get(segment["id"]))
        entry = {"id": identifier, "image": image, "label": label, "structures": names, "source": source}
        entries = self.entries()
        earlier = self.sharing(entry, entries)
        if earlier:
            # As two persons they could be trained on and scored with at the same time.
            subject = next((each["subject"] for each in earlier if each.get("subject")), earlier[0]["id"])
            for each in (*earlier, entry):
                each["subject"] = subject
        self.write(labels, [*entries, entry])
        _tellOfOverlap({identifier: shared}, warn)
        return identifier

    def addCorrected(self, scene, volumeNode, segmentationNode, warn=logging.warning):
        """Add a result that the user has corrected.

        :raises Problem: as `addFromScene`; or there is no volume that it was made on.
        """
        if volumeNode is None:
            raise Problem(
                _("The segmentation {name} belongs to no volume of the scene.").format(name=segmentationNode.GetName()),
                _("Load its volume again, and choose it as source geometry in the Segment Editor."),
            )
        return self.addFromScene(scene, volumeNode, segmentationNode, source="corrected", warn=warn)

    def addFromFolder(self, folder, found, warn=logging.warning):
        """Add the labelled scans of a folder.

        Where there are none, labelmaps are taken alone if their names say what they are. The scans stay
        where they are; the labels are written anew with values by name. What is in the table already is passed over.

        :param found: which files the backend found to belong together (`pairs`), the names of the values
            (`label_names`), and what it left out (`problems`); empty if it found no scan with labels.
        :param warn: is told, in a sentence each, of files that are left out and of what the labels cannot hold.
        :returns: identifiers of the added cases.
        :raises Problem: if there is none, or after the others were added, if some cannot be used.
        """
        pairs = [(pair["images"], pair["label"]) for pair in found.get("pairs") or () if pair["label"]]
        names = {int(value): name for value, name in (found.get("label_names") or {}).items()}
        if not pairs:
            alone, names = findLabels(folder)
            pairs = [([], label) for label in alone]
        if not pairs:
            raise Problem(
                _("The folder {folder} holds no scans with labels.").format(folder=folder),
                _("Scans and labelmaps belong in imagesTr and labelsTr, or beside each other: a.nii.gz, a.seg.nrrd."),
            )
        known = {entry["image"] or entry.get("origin") for entry in self.entries()}
        added, problems, shared = [], [], {}
        for problem in found.get("problems") or ():
            warn(problem["message"])
        for images, label in pairs:
            if os.path.abspath((images or [label])[0]) in known:
                continue
            try:
                identifier, shared[identifier] = self._addFiles(images, label, names)
                added.append(identifier)
            except Problem as problem:
                problems.append(problem)
        _tellOfOverlap(shared, warn)
        if problems:
            raise Problem(
                _("{count} of {all} cases were left out: {message}").format(
                    count=len(problems), all=len(pairs), message=problems[0].message
                ),
                problems[0].hint,
            )
        return added

    def _addFiles(self, images, label, names):
        image = images[0] if images else ""
        if len(images) > 1 or not (image or label).lower().endswith(VOLUME_ENDINGS):
            raise Problem(
                _("{path} is one of several channels, or a DICOM series.").format(path=image),
                _("Here a case is one volume with one segmentation: load them and add them from the scene."),
            )
        identifier = self.newIdentifier(stem(os.path.basename(image or label)))
        target = f"labels/{identifier}.nrrd"
        try:
            file = LabelFile(label, names)
            labels = self.labels()
            found, shared = file.write(self.path(target), labels.match(file.segments))
            if not found:
                raise ValueError(_("it is empty"))
        except (RuntimeError, OSError, ValueError) as fault:
            self.removeFiles(target)
            raise _unusable(label, fault) from fault
        files = {"image": os.path.abspath(image)} if image else {"image": "", "origin": os.path.abspath(label)}
        names = labels.namesOf(found)
        entry = {"id": identifier, **files, "label": target, "structures": names, "source": "folder"}
        self.write(labels, [*self.entries(), entry])
        return identifier, shared

    def withoutVolume(self):
        """Number of cases that are a segmentation alone."""
        return sum(not entry["image"] for entry in self.entries())

    def counts(self):
        """Number of cases by the name of a structure, in the order of their values."""
        found = [name for entry in self.entries() for name in entry.get("structures", [])]
        return {entry["name"]: found.count(entry["name"]) for entry in self.labels().toJson() if entry["name"] in found}

    def rename(self, old, new):
        """Give a structure another name in all cases; with the name of another one, both become one structure.

        :raises Problem: if the name is empty, a label file cannot be read (then nothing was changed) or written.
        """
        new = " ".join(new.split())
        labels = self.labels()
        source, target = labels.valueOf(old), labels.valueOf(new)
        if not new or source is None:
            raise Problem(_("A structure needs a name."), _("Type one."))
        entries = self.entries()
        changed = [entry for entry in entries if old in entry.get("structures", [])]
        if target not in (None, source):
            # All before the first is written; one at a time, since together they may be larger than the memory.
            for entry in changed:
                self._labelFile(entry)
        for entry in changed:
            if target in (None, source):
                entry["structures"] = [new if name == old else name for name in entry["structures"]]
                continue
            file = self._labelFile(entry)
            values = {segment["id"]: segment["labelValue"] for segment in file.segments}
            values = {identifier: target if value == source else value for identifier, value in values.items()}
            found, _shared = file.write(self.path(entry["label"]), values)
            entry["structures"] = labels.namesOf(found)
            self.write(labels, entries)
        if target in (None, source):
            labels.rename(source, new)
        else:
            labels.remove(source)
        self.write(labels, entries)

    def _labelFile(self, entry):
        path = self.path(entry["label"])
        try:
            return LabelFile(path)
        except (RuntimeError, OSError, ValueError) as fault:
            raise _unusable(path, fault) from fault

    def remove(self, identifier):
        """Take a case out of the table; files that were written for it are deleted, the user's own are not."""
        entries = self.entries()
        self.write(self.labels(), [entry for entry in entries if entry["id"] != identifier])
        for entry in entries:
            if entry["id"] == identifier:
                self.removeFiles(*(entry.get(key) or "" for key in ("image", "label")))

    # -- for the backend

    def writeTrainingList(self, folder):
        """Write `cases.json` and `labels.json` for one training, with absolute paths.

        :returns: the two paths.
        :raises Problem: if there is no case.
        """
        entries = [entry for entry in self.entries() if entry.get("structures")]
        if not entries:
            raise Problem(_("There is no case to learn from."), _("Add volumes with their segmentations."))
        used = {name for entry in entries for name in entry["structures"]}
        listed = [
            {
                "id": entry["id"],
                "image": self.path(entry["image"]) if entry["image"] else "",
                "label": self.path(entry["label"]),
                "subject": entry.get("subject", ""),
            }
            for entry in entries
        ]
        cases, labels = os.path.join(folder, TABLE), os.path.join(folder, LABELS)
        meanings = [label for label in self.labels().toJson() if label["name"] in used]
        writeJson(cases, listed)
        writeJson(labels, meanings)
        return cases, labels


def _unusable(path, fault):
    reason = str(fault).strip().splitlines()[-1] if str(fault).strip() else type(fault).__name__
    return Problem(
        _("The labels {path} cannot be used ({reason}).").format(path=path, reason=reason),
        _("Check that the file is a labelmap and that the disk is writable."),
    )


def _noVoxel(segmentationNode, volumeNode):
    name = segmentationNode.GetName()
    if volumeNode is None:
        return Problem(_("The segmentation {name} has no voxel.").format(name=name), _("Draw the structures first."))
    return Problem(
        _("The segmentation {name} has no voxel in the volume {volume}.").format(
            name=name, volume=volumeNode.GetName()
        ),
        _("Choose the volume that it was drawn on."),
    )


def _tellOfOverlap(voxels, warn):
    """Warn of segments that overlap. `voxels`: how many they share, by case."""
    overlapping = [identifier for identifier, count in voxels.items() if count]
    if overlapping:
        warn(
            _("Segments overlap in {count} voxels of {names}; the later segment keeps them.").format(
                count=sum(voxels.values()), names=", ".join(overlapping)
            )
        )
