"""A content hash of tensors: do kept results belong to the data and weights at hand?"""

import hashlib
from collections.abc import Mapping

from torch import Tensor


def hash_tensors(tensors: Mapping[object, Tensor], *, header: str = "") -> str:
    """SHA-256 (hex) over a header and every tensor's name, type, shape and bytes, in order."""
    digest = hashlib.sha256(header.encode())
    for name, tensor in tensors.items():
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()
