"""Parts of `srkd evaluate`."""
