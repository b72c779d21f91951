from slicer.i18n import tr as _

NAME = "MNI152_T1"
CHECKSUM = "SHA256:a431754e71ac02a52ee9eff68d0c77399a628c1c99fc7705528544ddd6847f98"


def sampleName():
    """What the demo volume is called in Sample Data."""
    return _("Head (T1 MR)")


def registerDemoVolume(moduleFolder):
    """Offer the demo volume, which comes with the extension, in Sample Data: it works without a network."""
    import SampleData

    # The first is the installed extension, the second a checkout of the repository.
    folders = (moduleFolder / "Resources" / "SampleData", moduleFolder.parent / "Resources" / "SampleData")
    volume = next((folder / f"{NAME}.nii.gz" for folder in folders if (folder / f"{NAME}.nii.gz").is_file()), None)
    if volume is None:
        return
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="MIMSegment",
        sampleName=sampleName(),
        thumbnailFileName=str(moduleFolder / "Resources" / "Icons" / f"{NAME}.png"),
        uris=volume.as_uri(),
        fileNames=f"{NAME}.nii.gz",
        nodeNames=NAME,
        checksums=CHECKSUM,
    )
