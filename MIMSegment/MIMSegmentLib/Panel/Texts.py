"""Sentences that the panel shows, made of what the backend tells. Plain Python."""

from html import escape

from slicer.i18n import tr as _

CROSS = " \u00d7 "
# mm: a field of view that is nowhere smaller is a whole scan of a body, not a box around a structure.
WHOLE_SCAN_MM = 150


def phaseText(phase):
    """What the backend is doing, in the user's words."""
    return {
        "read": _("Reading the scan"),
        "prepare": _("Preparing the scans"),
        "infer": _("Segmenting"),
        "segment": _("Segmenting"),
        "write": _("Writing the result"),
        "train": _("Training"),
        "score": _("Measuring accuracy on held-out cases"),
        "measure": _("Measuring how quickly the model may be used"),
        "examine": _("Examining this computer"),
        "check": _("Looking at the cases"),
        "pictures": _("Drawing pictures for the report"),
        "rank": _("Looking at the scans"),
        "labelled cases": _("Looking at the labeled cases"),
        "read cases": _("Reading the cases"),
        "export": _("Passing on the scan"),
        "import": _("Loading the result"),
    }.get(phase, phase.capitalize())


def waitingText(command):
    """Why Segment has to wait while something else runs."""
    return {
        "check": _("Segment waits until the cases are checked; Cancel on the tab Fine-tune ends that."),
        "plan": _("Segment waits until the training is planned; Cancel on the tab Fine-tune ends that."),
        "rank": _("Segment waits until the scans are ranked; Cancel on the tab Fine-tune ends that."),
    }[command]


def durationText(seconds):
    """Seconds as people say them."""
    seconds = max(1, round(seconds))
    if seconds < 60:
        return _("{count} s").format(count=seconds)
    if seconds < 3600:
        return _("{count} min").format(count=round(seconds / 60))
    hours, minutes = divmod(round(seconds / 60), 60)
    if not minutes:
        return _("{hours} h").format(hours=hours)
    return _("{hours} h {minutes} min").format(hours=hours, minutes=minutes)


def problemText(message, hint="", action=""):
    """One sentence and one remedy, as rich text; with a link for an action, see `Words`."""
    link = {
        "install": _("Install what is missing"),
        "train": _("Install what is missing"),
        "dicom": _("Install what is missing"),
        "computer": _("Check this computer"),
        "models": _("Show the models"),
        "box": _("Add a box"),
    }.get(action, "")
    lines = [f"<b>{escape(message)}</b>", escape(hint), f'<a href="{action}">{escape(link)}</a>' if link else ""]
    return "<br>".join(line for line in lines if line)


def sizeText(edges):
    """Edges of a box in mm."""
    return CROSS.join(f"{edge:.3g}" for edge in edges) + " mm"


def modelCard(facts, expectedSeconds=None):
    """Card of a model as rich text.

    :param facts: what `mimseg models show` tells.
    """
    description = facts["description"]
    labels = ", ".join(label["name"] for label in description["labels"])
    spacing = description["preprocessing"].get("spacing")
    rows = [
        (_("Structures"), labels),
        (
            _("Scan"),
            f"{description['modality']} ({', '.join(description['channels'])})"
            + (f", {sizeText(spacing)}" if spacing else ""),
        ),
        (_("Region"), regionText(description)),
        (_("Accuracy"), scoreText(description.get("scores") or {})),
        (_("Quick mode"), lossText(description.get("quick"))),
        (_("License"), description.get("licence", "")),
        (_("Time"), timeText(expectedSeconds)),
    ]
    lines = [f"<b>{escape(description['title'])}</b>"]
    lines += [f"{escape(name)}: {escape(text)}" for name, text in rows if text]
    return "<br>".join(lines)


def fullModelCard(facts):
    """The card with everything that matters before a model is used or passed on."""
    description = facts["description"]
    size = _("{size} MB, version {version}").format(size=f"{facts['size_bytes'] / 1e6:.1f}", version=facts["version"])
    paragraphs = [modelCard(facts) + f"<br>{escape(size)}"]
    texts = (description.get(name) for name in ("description", "attribution", "citation", "intended_use"))
    return "".join(f"<p>{text}</p>" for text in paragraphs + [escape(text) for text in texts if text])


def regionText(description):
    """How large a box the model wants, if any; empty if it takes scans of any size."""
    edges = description.get("field_of_view_mm")
    if description.get("locator"):
        return _("found in the scan by the model itself; a box is not needed")
    if not edges:
        return ""
    if min(edges) >= WHOLE_SCAN_MM:
        return _("made for whole scans of about {size}; a box is not needed").format(size=sizeText(edges))
    return _("made for boxes of about {size}; put one around each structure").format(size=sizeText(edges))


def scoreText(scores):
    """Mean Dice with the number of cases, or a plain statement that nothing was measured."""
    summary = scores.get("summary") or {}
    if scores.get("status"):
        return str(scores["status"])
    if summary.get("mean_dice") is None:
        return _("not measured")
    text = _("mean Dice {dice} on {cases} validation cases").format(
        dice=f"{summary['mean_dice']:.2f}", cases=summary.get("cases", "?")
    )
    if summary.get("version"):
        text += _(" (version {version}, which had not seen them)").format(version=summary["version"])
    if summary.get("worst_dice") is not None:
        text += _(", worst {dice}").format(dice=f"{summary['worst_dice']:.2f}")
    if scores.get("verdict"):
        text += ". " + _("Did the start help? {verdict}").format(verdict=scores["verdict"])
    return text


def lossText(quick):
    """What a quick mode was measured to lose, empty without one.

    :param quick: entry of the model's description, or None.
    """
    if not quick:
        return ""
    loss = quick["dice_loss"]
    text = _("{size}, mean Dice {loss} lower") if loss >= 0 else _("{size}, mean Dice {loss} higher")
    spacing = quick["spacing"]
    size = sizeText(spacing[:1] if len(set(spacing)) == 1 else spacing)
    return text.format(size=size, loss=f"{abs(loss):.3f}")


def quickText(quick):
    """Text and tool tip of the choice of a quick mode."""
    if not quick:
        return _("Quick (coarser)"), _(
            "This model has no quick mode: none was measured, or coarser voxels lose too much or spare nothing."
        )
    tip = _("Measured on {cases} cases: mean Dice {dice}, with {share} % of the windows.").format(
        cases=quick["cases"], dice=f"{quick['dice']:.3f}", share=round(100 * quick["windows_share"])
    )
    return _("Quick (coarser): {loss}").format(loss=lossText(quick)), tip


def timeText(seconds):
    """How long a volume takes on this computer."""
    if seconds is None:
        return ""
    return _("about {duration} on this computer").format(duration=durationText(seconds))


def deviceText(examination, choice, training=False):
    """Which processor will be used, said loudly.

    :param examination: result of `mimseg doctor`, or None while it is not known.
    :param choice: "auto", "cpu" or "gpu".
    """
    if examination is None:
        return _("Will run on: not known yet")
    processor = examination["processor"]
    cpu = _("Will run on: PROCESSOR (CPU), {name}, {cores} cores").format(
        name=processor["name"], cores=processor["usable_cores"]
    )
    cards = examination["graphics"]
    if choice == "cpu":
        return cpu
    if not cards:
        if choice == "gpu":
            return _("No graphics card that can compute was found. Choose Automatic.")
        return cpu + (_(": training will be slow") if training else "")
    torch = next((package for package in examination["packages"] if package["name"] == "torch"), {})
    usable = torch.get("state") in ("works", "installed")
    details = torch.get("details")
    if usable and details is not None:
        usable = any(device.get("works") for device in details.get("devices", []))
    if not usable:
        reason = _("the graphics card {name} needs PyTorch for it").format(name=cards[0]["name"])
        return f"{cpu} ({reason})" if choice == "auto" else _("Not possible: {reason}.").format(reason=reason)
    if choice == "auto" and not training and cards[0]["kind"] != "cuda":
        return cpu
    return _("Will run on: GRAPHICS CARD (GPU), {name}").format(name=cards[0]["name"])


def deviceArgument(choice, examination):
    """The backend's name of the chosen device."""
    if choice != "gpu":
        return choice
    cards = (examination or {}).get("graphics") or [{"kind": "cuda"}]
    return cards[0]["kind"]


def computerReport(examination):
    """What was found on this computer, as rich text."""
    processor, memory = examination["processor"], examination["memory"]
    can = examination["can"]
    rows = [
        (
            _("Segment"),
            _("yes, with {what}").format(what=", ".join(can["segment"])) if can["segment"] else _("not yet"),
        ),
        (_("Train"), _("yes, on {what}").format(what=", ".join(can["train"])) if can["train"] else _("not yet")),
        (_("Processor"), _("{name}, {cores} cores").format(name=processor["name"], cores=processor["usable_cores"])),
        (_("Memory"), f"{_gigabytes(memory['total'])}, " + _("{size} free").format(size=_gigabytes(memory["free"]))),
        (_("Graphics card"), ", ".join(card["name"] for card in examination["graphics"]) or _("none that can compute")),
        (_("Python"), examination["python"]),
    ]
    broken = [package["name"] for package in examination["packages"] if package["state"] == "broken"]
    if broken:
        rows.append((_("Broken packages"), ", ".join(broken)))
    return "<br>".join(f"<b>{escape(name)}:</b> {escape(str(text))}" for name, text in rows)


def _gigabytes(size):
    return _("unknown") if size is None else f"{size / 2**30:.1f} GB"
