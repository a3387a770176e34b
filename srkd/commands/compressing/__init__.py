"""Parts of `srkd compress`."""
