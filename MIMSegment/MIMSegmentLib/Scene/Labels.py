class Labels:
    """Which structure a voxel value means, in all training cases alike. Values are never given out twice.

    :param entries: list of {value, name, color, category, type, modifier} as in `labels.json`.
    """

    # What 3D Slicer gives to any new segment: it says nothing about the structure.
    unspecific = (("SCT", "85756007"), ("SRT", "T-D0050"), ("SCT", "123037004"))

    def __init__(self, entries=()):
        self._entries = [dict(entry) for entry in entries]

    def toJson(self):
        """The entries, ordered by value."""
        return sorted(self._entries, key=lambda entry: entry["value"])

    def namesOf(self, values):
        """Names of these values, without repetition, ordered by value."""
        wanted = set(values)
        return [entry["name"] for entry in self.toJson() if entry["value"] in wanted]

    def valueOf(self, name):
        """The value of a structure, None if there is none of this name."""
        entry = self._byName(name)
        return entry["value"] if entry is not None else None

    def rename(self, value, name):
        """Give a structure another name."""
        for entry in self._entries:
            if entry["value"] == value:
                entry["name"] = name

    def remove(self, value):
        """Forget a structure that no voxel means any more."""
        self._entries = [entry for entry in self._entries if entry["value"] != value]

    def match(self, segments):
        """Voxel value by segment ID. Segments are found by name, else by code, else they are new structures.

        A code decides only if it is unique in this segmentation and in the table: left and right may share one.

        :param segments: list of {id, name, and optionally color, category, type, modifier}.
        """
        values = {}
        for segment in segments:
            entry = self._byName(segment["name"])
            if entry is not None:
                values[segment["id"]] = entry["value"]
        for segment in segments:
            if segment["id"] in values:
                continue
            entry = self._byCode(segment, segments, set(values.values()))
            if entry is None:
                # Two new segments of one name are one structure.
                entry = self._byName(segment["name"]) or self._add(segment)
            values[segment["id"]] = entry["value"]
        return values

    def _byName(self, name):
        key = _key(name)
        return next((entry for entry in self._entries if _key(entry["name"]) == key), None)

    def _byCode(self, segment, segments, taken):
        code = self._code(segment)
        if code is None or sum(self._code(other) == code for other in segments) > 1:
            return None
        found = [entry for entry in self._entries if self._code(entry) == code]
        return found[0] if len(found) == 1 and found[0]["value"] not in taken else None

    def _code(self, entry):
        """Type and modifier, or None if they say nothing."""
        kind, modifier = entry.get("type"), entry.get("modifier")
        if not kind or (kind["scheme"], kind["value"]) in self.unspecific:
            return None
        return kind["scheme"], kind["value"], *((modifier["scheme"], modifier["value"]) if modifier else ())

    def _add(self, segment):
        value = max((entry["value"] for entry in self._entries), default=0) + 1
        entry = {"value": value, "name": " ".join(segment["name"].split()) or f"Structure {value}"}
        entry.update({key: segment[key] for key in ("color", "category", "type", "modifier") if segment.get(key)})
        if self._code(entry) is None:
            entry.pop("type", None)
            entry.pop("category", None)
        self._entries.append(entry)
        return entry


def _key(name):
    return " ".join(name.split()).casefold()


def codesOfEntry(text):
    """Codes of a terminology entry as 3D Slicer stores it: {"category": {scheme, value, meaning}, "type": ..,
    "modifier": ..}, as far as they are set."""
    codes = {}
    for name, part in zip(("category", "type", "modifier"), text.split("~")[1:4], strict=False):
        fields = part.split("^")
        if len(fields) == 3 and fields[0] and fields[1]:
            codes[name] = dict(zip(("scheme", "value", "meaning"), fields, strict=True))
    return codes
