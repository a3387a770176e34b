"""PSNR, SSIM and LPIPS under named protocols."""

from srkd.metrics.scores import LPIPS_VARIANTS, PROTOCOLS, crop_to_multiple, luma, protocol_name, psnr, ssim

__all__ = ["LPIPS_VARIANTS", "PROTOCOLS", "crop_to_multiple", "luma", "protocol_name", "psnr", "ssim"]
