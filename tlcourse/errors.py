"""Faults of what a user hands in, one class a cause; each message names fault, place and cure."""


class BackboneError(ValueError):
    """A network, its weights or its input is not what it should be."""


class ImageError(ValueError):
    """A file is not an image that the course can use."""


class DatasetError(ValueError):
    """A data set is missing, damaged or unsuitable."""


class ArchiveError(DatasetError):
    """An archive of images is damaged, or holds what would lead out of its folder."""


class OutputError(ValueError):
    """Results cannot be written: something is there that must stay, or the disk takes no more."""


class ModelFolderError(ValueError):
    """A folder holds no model of ``tlcourse fit``, or one that is damaged."""


class SweepError(OSError):
    """A sweep cannot begin, or some of its cells failed."""


class StudyError(ValueError):
    """A study, an arm or a recorded cell is not what it should be."""
