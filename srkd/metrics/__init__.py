"""PSNR, SSIM and LPIPS under named protocols."""

from srkd.metrics.scores import (
    LARGEST_PSNR,
    LPIPS_VARIANTS,
    PROTOCOLS,
    crop_to_multiple,
    luma,
    protocol_name,
    psnr,
    ssim,
)

__all__ = [
    "LARGEST_PSNR",
    "LPIPS_VARIANTS",
    "PROTOCOLS",
    "crop_to_multiple",
    "luma",
    "protocol_name",
    "psnr",
    "ssim",
]
