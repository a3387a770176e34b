"""Moving pictures: clips by FFmpeg (PyAV, the extra `video`), and animated GIF, WebP and PNG by Pillow."""
