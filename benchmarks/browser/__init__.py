"""Networks for the browser, side by side in one."""
