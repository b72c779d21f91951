from slicer.i18n import tr as _

NAME = "MNI152_temporal_lobes_T1"
CHECKSUM = "SHA256:b68b2117739beefdc6965545e467e9cfc2c19289cbf8147fbc96ae5e3494fafd"


def sampleName():
    """What the demo volume is called in Sample Data."""
    return _("Temporal lobes (T1 MR)")


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
