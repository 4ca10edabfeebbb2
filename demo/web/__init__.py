"""The demo as a page in the browser: its files, a server for this machine, a folder for others."""
