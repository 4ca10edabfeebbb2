"""What JPEG does to images, for whole batches on any device: the losses without the file."""

import torch
from torch import Tensor
from torch.nn import functional as F

BLOCK = 8
# ITU-T T.81 (1992), tables K.1 and K.2: steps of luminance and chrominance at quality 50.
_LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *[(99,) * 8] * 4,
)
_STEPS = (_LUMINANCE, _CHROMINANCE)
# ITU-T T.871 (2011), clause 7: from red, green and blue to luma and two differences.
_TO_LUMA = (
    (0.299, 0.587, 0.114),
    (-0.168736, -0.331264, 0.5),
    (0.5, -0.418688, -0.081312),
)


class Jpeg:
    """Gives images back as a baseline JPEG of halved chrominance would.

    Its constants are on the device from the beginning, so that no call waits for them.

    Args:
        device: of the images.
    """

    def __init__(self, device: torch.device):
        to_luma = torch.tensor(_TO_LUMA, dtype=torch.float64)
        constants = (to_luma, to_luma.inverse(), _cosines(), *map(torch.tensor, _STEPS))
        self._to_luma, self._from_luma, self._wave, *self._steps = (
            constant.float().to(device) for constant in constants
        )

    def __call__(self, images: Tensor, qualities: Tensor) -> Tensor:
        """Return images, float ``[N, 3, H, W]``.

        Args:
            images: RGB of 0 to 255, float ``[N, 3, H, W]``; H and W are multiples of 16.
            qualities: 1 to 100, of libjpeg's scale, ``[N]``.
        """
        luma, chroma = torch.einsum("ij,njhw->nihw", self._to_luma, images).split((1, 2), 1)
        factor = torch.where(qualities < 50, 5000 / qualities, 200 - 2 * qualities)[:, None, None]
        luma = self._rounded(luma - 128, self._steps[0] * factor) + 128
        halves = self._rounded(F.avg_pool2d(chroma, 2), self._steps[1] * factor)
        chroma = F.interpolate(halves, scale_factor=2, mode="bilinear")
        back = torch.einsum("ij,njhw->nihw", self._from_luma, torch.cat([luma, chroma], 1))
        return back.clamp(0, 255)

    def _rounded(self, planes: Tensor, steps: Tensor) -> Tensor:
        """Round the cosine coefficients of 8 x 8 blocks to steps, in percent, ``[N, 8, 8]``."""
        count, channels, height, width = planes.shape
        table = ((steps + 50) / 100).floor().clamp(1, 255)[:, None, None, None]
        blocks = planes.reshape(count, channels, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
        coefficients = self._wave @ blocks.transpose(3, 4) @ self._wave.T
        blocks = self._wave.T @ ((coefficients / table).round() * table) @ self._wave
        return blocks.transpose(3, 4).reshape(planes.shape)


def _cosines() -> Tensor:
    """Return the matrix of the orthonormal discrete cosine transform of 8 numbers (T.81, A.3.3)."""
    place = torch.arange(BLOCK, dtype=torch.float64)
    rows = torch.cos((2 * place + 1) * place[:, None] * torch.pi / (2 * BLOCK)) / 2
    rows[0] /= 2**0.5
    return rows
