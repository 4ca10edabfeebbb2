"""Frames in, frames out: a face-parsing model on images, folders, videos and webcams."""
