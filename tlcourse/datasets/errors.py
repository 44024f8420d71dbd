"""What can be wrong with images and data sets."""


class ImageError(ValueError):
    """A file is not an image that the course can use; the message names file, fault and cure."""


class DatasetError(ValueError):
    """A data set is missing, damaged or unsuitable; the message says what was expected."""
