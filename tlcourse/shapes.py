"""Shapes and types of tensors, as signatures name them; ``n`` images, ``h`` × ``w`` pixels."""

from jaxtyping import Float, Int64, Shaped, UInt8
from torch import Tensor

Images = UInt8[Tensor, "n c h w"]
Labels = Int64[Tensor, " n"]
Features = Float[Tensor, "n d"]
Logits = Float[Tensor, "n k"]
Maps = Float[Tensor, "n h w"]
Data = tuple[Shaped[Tensor, "n ..."], Int64[Tensor, " n"]]  # inputs (images or features), labels
OtherData = tuple[Shaped[Tensor, "m ..."], Int64[Tensor, " m"]]  # beside Data, of another length
