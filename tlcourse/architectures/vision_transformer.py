"""Vision transformer (Dosovitskiy et al. 2021): an image as a sentence of patches."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from tlcourse.architectures.layers import Network, named

EPS = 1e-6
_BLOCK_NUMBERS = [(k, j, 3 * (k - 1) + j) for k in (1, 2, 3, 4) for j in range(3)]
# Our names → torchvision's.
TORCHVISION_NAMES = (
    (r"^stem\.class_token", "class_token"),
    (r"^stem\.position", "encoder.pos_embedding"),
    (r"^stem\.patches", "conv_proj"),
    *(
        (rf"^stage{k}\.{j}\.", f"encoder.layers.encoder_layer_{number}.")
        for k, j, number in _BLOCK_NUMBERS
    ),
    (r"\.norm([12])", r".ln_\1"),
    (r"\.attention\.qkv\.", ".self_attention.in_proj_"),
    (r"\.attention\.out", ".self_attention.out_proj"),
    (r"\.mlp\.fc1", ".mlp.0"),
    (r"\.mlp\.fc2", ".mlp.3"),
    (r"^neck\.norm", "encoder.ln"),
    (r"^head", "heads.head"),
)
# Our names → timm's.
TIMM_NAMES = (
    (r"^stem\.class_token", "cls_token"),
    (r"^stem\.position", "pos_embed"),
    (r"^stem\.patches", "patch_embed.proj"),
    *((rf"^stage{k}\.{j}\.", f"blocks.{number}.") for k, j, number in _BLOCK_NUMBERS),
    (r"\.attention\.qkv", ".attn.qkv"),
    (r"\.attention\.out", ".attn.proj"),
    (r"^neck\.norm", "norm"),
)


class Tokens(nn.Module):
    """Patches as vectors, a class token before them, positions added; (N, C, H, W) → (N, T, D).

    Raises ValueError for images of another size than the positions are made for.

    Examples
    --------
    >>> tokens = Tokens(image_size=32, patch_size=4, width=24, in_channels=3)
    >>> tokens(torch.rand(2, 3, 32, 32)).shape  # 8 · 8 patches and the class token
    torch.Size([2, 65, 24])
    """

    def __init__(self, image_size: int, patch_size: int, width: int, in_channels: int) -> None:
        super().__init__()
        if image_size % patch_size:
            raise ValueError(
                f"patches of {patch_size} px do not divide images of {image_size} px; "
                f"the next size that fits is {patch_size * (image_size // patch_size + 1)} px"
            )
        self.image_size = image_size
        # A convolution whose kernels do not overlap is one linear layer for every patch.
        self.patches = nn.Conv2d(in_channels, width, patch_size, stride=patch_size)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        num_tokens = 1 + (image_size // patch_size) ** 2
        self.position = nn.Parameter(torch.empty(1, num_tokens, width).normal_(std=0.02))

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n t d"]:
        """(N, C, H, W) → (N, T, D)."""
        height, width = images.shape[2:]
        if (height, width) != (self.image_size, self.image_size):
            raise ValueError(
                f"images are {height} × {width} px; this network's positions are made for "
                f"{self.image_size} × {self.image_size} px"
            )
        patches = self.patches(images).flatten(2).transpose(1, 2)
        class_token = self.class_token.expand(len(images), -1, -1)
        return torch.cat([class_token, patches], dim=1) + self.position


def attention(
    query: Float[Tensor, "... q d"], key: Float[Tensor, "... t d"], value: Float[Tensor, "... t v"]
) -> tuple[Float[Tensor, "... q v"], Float[Tensor, "... q t"]]:
    """softmax(q kᵀ / √d) v and the weights themselves, as written.

    Query, key and value are (…, T, d); gives (…, T, d) and weights (…, T, T) whose rows sum to 1.

    References
    ----------
    Vaswani et al. 2017, Attention Is All You Need, equation 1

    Examples
    --------
    >>> x = torch.rand(2, 5, 8)
    >>> value, weights = attention(x, x, x)
    >>> value.shape, weights.shape
    (torch.Size([2, 5, 8]), torch.Size([2, 5, 5]))
    """
    scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
    weights = scores.softmax(dim=-1)
    return weights @ value, weights


class MultiHeadSelfAttention(nn.Module):
    """Each token gathers from all tokens, in several heads at once; (N, T, D) → (N, T, D).

    Raises ValueError when the width cannot be divided among the heads.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        if width % num_heads:
            raise ValueError(f"a width of {width} cannot be divided among {num_heads} heads")
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "n t d"]) -> Float[Tensor, "n t d"]:
        """(N, T, D) → (N, T, D)."""
        # torch's fast path of the formula above; the tests compare them.
        gathered = scaled_dot_product_attention(*self._heads(x))
        return self.out(gathered.transpose(1, 2).flatten(2))

    def weights(self, x: Float[Tensor, "n t d"]) -> Float[Tensor, "n heads t t"]:
        """How much each token (row) takes from each token; (N, heads, T, T)."""
        return attention(*self._heads(x))[1]

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value, each (N, heads, T, D / heads)."""
        query, key, value = self.qkv(x).unflatten(2, (3, self.num_heads, -1)).unbind(2)
        return query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)


class EncoderBlock(nn.Module):
    """Attention between tokens, then a perceptron in each, both beside a shortcut."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.attention = MultiHeadSelfAttention(width, num_heads)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.mlp = named(
            fc1=nn.Linear(width, 4 * width), gelu=nn.GELU(), fc2=nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, D) → (N, T, D)."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ClassToken(nn.Module):
    """The class token of a sequence; (N, T, D) → (N, D)."""

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T, D) → (N, D)."""
        return tokens[:, 0]


def vision_transformer(
    *,
    width: int,
    num_heads: int,
    image_size: int = 224,
    patch_size: int = 16,
    blocks_per_stage: int = 3,
    num_classes: int,
    in_channels: int,
) -> Network:
    """Encoder blocks on patches, twelve by default, the class token's norm, a linear head."""
    stages = {
        f"stage{k}": nn.Sequential(
            *(EncoderBlock(width, num_heads) for _ in range(blocks_per_stage))
        )
        for k in (1, 2, 3, 4)
    }
    network = Network(
        in_channels=in_channels,
        min_size=image_size,
        stem=Tokens(image_size, patch_size, width, in_channels),
        **stages,
        neck=named(norm=nn.LayerNorm(width, eps=EPS), token=ClassToken()),
        head=nn.Linear(width, num_classes),
    )
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)  # as in the paper's own code
            nn.init.zeros_(module.bias)
    return network
