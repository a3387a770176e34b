"""Parts of `srkd prepare`."""
